#!/usr/bin/env python3
"""Writes tests/golden/tokenizer/gpt2.json: texts, their pieces and their GPT-2 tokens, as tiktoken has them.

    pip install tiktoken tokenizers
    scripts/compare/tokenizer_golden.py --gpt2 ../shared/data/gpt2 --texts ../shared/data/text

tiktoken's vocabulary is built from the two files in --gpt2, so nothing is downloaded. "pieces" are the byte lengths that
Hugging Face's pre-tokenizer of the same pattern cuts, and are checked here against tiktoken's tokens.
"""
import argparse
import json
import pathlib
import random

import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks
from tokenizers.pre_tokenizers import ByteLevel

PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""

TEXTS = {
    "empty": "",
    "english": "The quick brown fox jumps over the lazy dog. It wasn't tired; it'd slept for 12 hours, hadn't it?",
    "contractions": "I'm you're he's she'd we've they'll don't can't 'tis o'clock rock'n'roll the dogs' 'ss ''s '' 'd've y'all'd've",
    "contractions upper case": "I'M YOU'RE HE'S SHE'D WE'VE THEY'LL DON'T 'Re 'Ll 'rE",
    "contractions other apostrophes": "I\u2019m you\u2019re \u02bcs `s \u00b4s",
    "contraction after space": " 's 't 're  've   'll\n'd\t'm",
    "contraction in letters": "'sun 'tree 'read 'velvet 'moon 'llama 'door 'r 'v 'l '",
    "numbers": "0 1 12 123 1234 12345 1234567890 3.14159 1,000,000 -42 1e-5 0xFF 2024-01-31 10:45 \u00bd \u2167 \u00b2 \u0663\u0664 \u096a \u2462",
    "numbers and letters": "abc123def 4th GPT-2 x86_64 v1.2.3b",
    "underscores": "snake_case __init__ _ __ a_1_b",
    "code": "int main(int argc, char** argv) {\n\treturn argc > 1 ? 0 : -1;  // done\n}\n\n\n#define X(a) \\\n  ((a) + 1)\n",
    "python": "def f(x):\n    if x:\n        return {'a': [1, 2, 3]}\n    \n    return None\n",
    "url": "https://example.org/a/b?c=d&e=f#g user@example.com",
    "punctuation": "!!! ??? ... -- --- ,;:. (a) [b] {c} <d> \"e\" 'f' #$%&*+/=@\\^_`|~",
    "crlf": "one\r\ntwo\r\n\r\nthree\rfour\n\rfive\r\n",
    "tabs": "\ta\t\tb\t \tc \td\t",
    "spaces": " a  b   c    d                                                                e ",
    "only spaces": "     ",
    "one space": " ",
    "only newlines": "\n\n\n\n",
    "trailing newline": "text\n",
    "trailing spaces": "text   ",
    "leading newlines": "\n\n  text",
    "mixed white space": "a \t\n b\n \n  c\x0b\x0cd \x1c e\x1d\x1e\x1f f",
    "no-break space": "a\u00a0b \u00a0c\u00a0 d\u00a0\u00a0e\u00a0",
    "unicode white space": "a\u0085b\u1680c\u2000d\u2001\u2002\u2003e\u2004 f \u2005g\u2006\u2007\u2008\u2009\u200ah\u2028i\u2029j\u202fk\u205fl\u3000m\u3000\u3000n",
    "not white space": "a\u180eb\u200bc\u200cd\u200de\u2060f\ufeffg \u180e \u200b \ufeff",
    "control characters": "a\x00b\x01\x02 c\x7fd \x1b[31mred\x1b[0m \x80\x9f",
    "special token as text": "<|endoftext|> a<|endoftext|>b <|endoftext|>",
    "accents": "caf\u00e9 na\u00efve \u00c5ngstr\u00f6m \u0141\u00f3d\u017a \u010desk\u00fd \u0111\u1eb7c bi\u1ec7t e\u0301 n\u0303 a\u0308\u0301",
    "german": "Stra\u00dfe, M\u00fc\u00dfiggang und \u00dcbergr\u00f6\u00dfentr\u00e4ger",
    "french": "L'\u00e9t\u00e9 dernier, j'ai vu \u00ab l'\u0153uvre \u00bb : c'\u00e9tait \u00e0 No\u00ebl !",
    "greek": "\u0397 \u03b3\u03c1\u03ae\u03b3\u03bf\u03c1\u03b7 \u03b1\u03bb\u03b5\u03c0\u03bf\u03cd \u03c0\u03b7\u03b4\u03ac",
    "russian": "\u0421\u044a\u0435\u0448\u044c \u0435\u0449\u0451 \u044d\u0442\u0438\u0445 \u043c\u044f\u0433\u043a\u0438\u0445 \u0431\u0443\u043b\u043e\u043a",
    "hebrew": "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd \u05e2\u05d5\u05dc\u05dd, \u05de\u05d4 \u05e9\u05dc\u05d5\u05de\u05da?",
    "arabic": "\u0627\u0644\u0633\u064e\u0651\u0644\u0627\u0645\u064f \u0639\u0644\u064a\u0643\u0645\u060c \u0661\u0662\u0663 \u06f1\u06f2",
    "hindi": "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e \u0967\u0968\u0969 \u0915\u094d\u0937",
    "tamil": "\u0bb5\u0ba3\u0b95\u0bcd\u0b95\u0bae\u0bcd \u0b89\u0bb2\u0b95\u0bae\u0bcd",
    "thai": "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01 \u0e51\u0e52\u0e53",
    "chinese": "\u4f60\u597d\uff0c\u4e16\u754c\uff01\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002\u3000\u4e00\u4e8c\u4e09 \u3007",
    "japanese": "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c\u3002\u30ab\u30bf\u30ab\u30ca\u3000\uff11\uff12\uff13 \uff8a\uff9d\uff76\uff78",
    "korean": "\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4 \u1112\u1161\u11ab",
    "georgian armenian ethiopic": "\u10d2\u10d0\u10db\u10d0\u10e0\u10ef\u10dd\u10d1\u10d0 \u0532\u0561\u0580\u0565\u0582 \u1230\u120b\u121d \u1369\u136a",
    "historic planes": "\U00010330\U00010331 \U00012000\U00012001 \U00013000 \U00010107\U00010108 \U00020000\U00020001 \U00030000",
    "mathematics": "\u2200x\u2208\u211d: \u230ax\u230b \u2264 x \U0001d400\U0001d7d8\U0001d7d9 \u222b\u2080\u00b9 x\u00b2 dx = \u2153",
    "currency": "$5 \u20ac10 \u00a320 \u00a5300 \u20b94 5\u00a2",
    "emoji": "Hello \U0001f600\U0001f603 \U0001f680! \u2764\ufe0f \u2b50\u2b50",
    "emoji joined": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308 \U0001f9d1\U0001f3fd\u200d\U0001f4bb",
    "emoji flags and keys": "\U0001f1eb\U0001f1f7\U0001f1e9\U0001f1ea 1\ufe0f\u20e3 #\ufe0f\u20e3 \U0001f3f4\U000e0067\U000e0062\U000e007f",
    "letters since Unicode 14": "\U0001e030\U0001e06d \U00031350\U000323af \U00011f04 \ua7cb \u1c89 \U000105c0 \U0002ebf0 \U00011f50\U0001e4f0 \U0001ccf0",
    "private, unassigned, last": "\ue000 \ufffe\uffff \U000f0000 \U00050000 \U0010ffff \ufffd",
    "zalgo": "Z\u0351\u036b\u0343\u036a\u0302a\u0306\u0325l\u0334\u0353g\u0312\u0349o\u0308",
    "long word": "antidisestablishmentarianism" * 8,
    "long run of one letter": "a" * 500,
    "long run of two letters": "ab" * 300,
    "long digits": "31415926535897932384626433832795028841971693993751" * 4,
    "long punctuation": "=-" * 120 + "*" * 90,
    "long spaces": " " * 200 + "x" + "\n" * 130 + "y",
    "base64": "TG9yZW0gaXBzdW0gZG9sb3Igc2l0IGFtZXQsIGNvbnNlY3RldHVyIGFkaXBpc2NpbmcgZWxpdA==" * 2,
    "glitch tokens": " SolidGoldMagikarp petertodd StreamerBot rawdownloadcloneembedreportprint \u00c3\u00c2\u00c3\u00c2",
}

INVALID = {
    "lone continuation": b"a\x80b\xbf\xbf",
    "impossible bytes": b"a\xc0\xafb\xc1\xbf\xf5\xf8\xfe\xff",
    "truncated at the end": b"ab\xe2\x82",
    "truncated two": b"\xc3",
    "truncated four": b"x\xf0\x9f\x98",
    "truncated in the middle": b"\xe2\x82 \xf0\x9fa\xf0\x9f\x98b\xc3\xc3\xa9",
    "overlong": b"\xe0\x80\xaf \xf0\x80\x80\xaf \xe0\x9f\xbf \xf0\x8f\xbf\xbf",
    "surrogates": b"\xed\xa0\x80\xed\xbf\xbf \xed\xa0\xbd\xed\xb8\x80",
    "beyond the last": b"\xf4\x90\x80\x80 \xf4\x8f\xbf\xbf",
    "latin-1": "Fa\u00e7ade \u00e0 la cr\u00e8me".encode("latin-1"),
    "utf-16": "hello".encode("utf-16"),
    "first bytes only": bytes(range(0xC0, 0x100)),
    "all bytes": bytes(range(256)),
    "Unicode standard, table 3-8": bytes.fromhex("C0AFE080BFF08182 41"),
    "Unicode standard, table 3-11": bytes.fromhex("E18 0E2F09192F1BF41".replace(" ", "")),
}


def random_texts(rng):
    """Texts of characters from everywhere, with white space and apostrophes made frequent."""
    blocks = [(0x20, 0x7E), (0xA0, 0x24F), (0x370, 0x5FF), (0x600, 0x6FF), (0x900, 0xDFF), (0xE00, 0x10FF), (0x1100, 0x1FFF),
              (0x2000, 0x2BFF), (0x3000, 0x33FF), (0x4E00, 0x9FFF), (0xA000, 0xABFF), (0xF900, 0xFFFF), (0x10000, 0x1FFFF),
              (0x20000, 0x323FF), (0xE0000, 0xE01FF)]
    frequent = " \n\t\r'\u00a0\u3000s0a.\u00e9"
    for i in range(40):
        chosen = rng.sample(blocks, 3)
        yield f"random {i}", "".join(
            rng.choice(frequent) if rng.random() < 0.4 else chr(rng.randint(*rng.choice(chosen))) for _ in range(60))
    for i in range(20):
        yield f"random bytes {i}", bytes(
            rng.choice([rng.randrange(256), rng.randrange(0x80, 0xC0), rng.randrange(0xC2, 0xF5), 0x20, 0x61]) for _ in range(60))


def fnv(tokens):
    value = 0xCBF29CE484222325
    for token in tokens:
        value = (value ^ token) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpt2", type=pathlib.Path, required=True, help="folder with encoder.json and vocab.bpe")
    parser.add_argument("--texts", type=pathlib.Path, required=True, help="folder with tinyshakespeare.txt and wikitext2_valid.txt")
    arguments = parser.parse_args()

    ranks = data_gym_to_mergeable_bpe_ranks(str(arguments.gpt2 / "vocab.bpe"), str(arguments.gpt2 / "encoder.json"))
    gpt2 = tiktoken.Encoding("gpt2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 50256})
    splitter = ByteLevel(add_prefix_space=False, use_regex=True)

    cases = []
    for name, source in [*TEXTS.items(), *INVALID.items(), *random_texts(random.Random(2019))]:
        text = source if isinstance(source, str) else source.decode("utf-8", "replace")
        tokens = gpt2.encode_ordinary(text)
        pieces = [text[begin:end] for _, (begin, end) in splitter.pre_tokenize_str(text)]
        if "".join(pieces) != text or [t for piece in pieces for t in gpt2.encode_ordinary(piece)] != tokens:
            raise SystemExit(f"{name}: Hugging Face's pieces are not tiktoken's")
        case = {"name": name, "text": source} if isinstance(source, str) else {"name": name, "hex": source.hex()}
        cases.append(case | {"pieces": [len(piece.encode()) for piece in pieces], "tokens": tokens})

    files = []
    for name in ["tinyshakespeare.txt", "wikitext2_valid.txt"]:
        tokens = gpt2.encode_ordinary((arguments.texts / name).read_bytes().decode("utf-8"))
        files.append({"file": name, "count": len(tokens), "fnv1a": fnv(tokens)})

    out = pathlib.Path(__file__).parents[2] / "tests/golden/tokenizer/gpt2.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    out.write_text(f'{{"tiktoken":"{tiktoken.__version__}","files":{json.dumps(files)},\n"cases":[\n{lines}\n]}}\n')
    print(f"{out}: {len(cases)} cases, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
