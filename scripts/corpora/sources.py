"""What fetch.py knows: repositories on Hugging Face with the files that configurations name, and hashes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A repository on Hugging Face, and which of its files are wanted."""

    about: str
    repository: str
    folder: str
    shards: str | None = None  # SHARDS_train_000001.bin and on, SHARDS_val_000000.bin
    files: tuple[str, ...] = ()
    revision: str = "main"  # a commit where one is known

    @property
    def path(self) -> str:
        """Of the repository in addresses of files."""
        return f"datasets/{self.repository}" if self.shards else self.repository

    @property
    def interface(self) -> str:
        return f"api/{'datasets' if self.shards else 'models'}/{self.repository}"


VOCABULARY = ("vocab.json", "merges.txt")
MODEL = (*VOCABULARY, "config.json", "model.safetensors")
SMALL = "607a30d783dfa663caf39e06633721c8d4cfcd7e"
SOURCES = {
    "fineweb-10b": Source("10 billion tokens of FineWeb (gpt2-124m.json)", "kjj0/fineweb10B-gpt2", "fineweb10B", shards="fineweb"),
    "fineweb-100b": Source("100 billion (gpt2-350m.json, gpt2-774m.json)", "kjj0/fineweb100B-gpt2", "fineweb100B", shards="fineweb"),
    "fineweb-edu-10b": Source("10 billion tokens of FineWeb-Edu (gpt2-124m-edu.json)", "kjj0/finewebedu10B-gpt2", "finewebedu10B", shards="finewebedu"),
    "fineweb-edu-100b": Source("100 billion (gpt2-1558m.json)", "karpathy/fineweb-edu-100B-gpt2-token-shards", "edu_fineweb100B", shards="edu_fineweb",
                               revision="a33f75d78c7f74236fb03754ec1eb3cc77507d64"),
    "gpt2-vocabulary": Source("GPT-2's vocabulary, which all shards above belong to; they bring it along", "openai-community/gpt2", "gpt2", files=VOCABULARY, revision=SMALL),
    "gpt2": Source("weights and vocabulary of GPT-2, 124M (finetune-124m.json)", "openai-community/gpt2", "gpt2", files=MODEL, revision=SMALL),
    "gpt2-medium": Source("350M", "openai-community/gpt2-medium", "gpt2-medium", files=MODEL, revision="6dcaa7a952f72f9298047fd5137cd6e4f05f41da"),
    "gpt2-large": Source("774M", "openai-community/gpt2-large", "gpt2-large", files=MODEL, revision="32b71b12589c2f8d625668d2335a01cac3249519"),
    "gpt2-xl": Source("1558M", "openai-community/gpt2-xl", "gpt2-xl", files=MODEL, revision="15ea56dee5df4983c59b2538573817e1667135e2"),
}
# What is known of these commits without asking the host.
PINNED = {
    ("gpt2", "vocab.json"): "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    ("gpt2", "merges.txt"): "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    ("gpt2", "model.safetensors"): "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
    ("gpt2-xl", "model.safetensors"): "0f8b28eb05a8075f48b61b6f35332978c74fc7763fa9fb4051a1c30511736a6a",
}
HELLASWAG = "HellaSwag's 10,042 validation items (eval.hellaswag)"
HELLASWAG_PATH, HELLASWAG_BYTES = "rowanz/hellaswag/master/data/hellaswag_val.jsonl", 12246618
HELLASWAG_SHA256 = "0aa3b88843990f3f10a97b9575c94d7b71fb2205240ba04ae4884d9e9c992588"
