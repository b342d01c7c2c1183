#!/usr/bin/env bash
# failing_write_test.sh HELPER SHIM: each operation of a small save fails, is cut short or is the last one, in turn. Whatever
# happens, `status` must be the old file or the new one, and a file that stays after an error must be complete.
set -euo pipefail
helper=$1
shim=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ASAN_OPTIONS=verify_asan_link_order=0
complete=$(for letter in a b c; do head -c 100001 /dev/zero | tr '\0' "$letter"; done | sha256sum)

die() {
  echo "FAILED: $*" >&2
  cat "$work/err" >&2
  exit 1
}

# save VARIABLE=VALUE...: sets `code`, and `fired` to whether the shim did anything.
save() {
  rm -rf "$work/run"
  mkdir "$work/run"
  echo old >"$work/run/status"
  code=0
  env "$@" LD_PRELOAD="$shim" "$helper" "$work/run" >"$work/out" 2>"$work/err" || code=$?
  fired=no
  if grep -q '^failing_write:' "$work/err"; then fired=yes; fi
  case $(cat "$work/run/status") in old | new) ;; *) die "$*: status is torn" ;; esac
}

save FAIL_CALL=none
[[ $code == 0 && $fired == no ]] || die "without a failure the save ends with $code"

# How often the save must do each: an fsync that is left out fails no save here, but loses one when the power goes.
declare -A expected=([write]=4 [fsync]=4 [rename]=1 [mkdir]=1)

points=0
for call in write fsync rename mkdir; do
  for errno in ENOSPC EIO; do
    for ((at = 1; ; ++at)); do
      save FAIL_CALL=$call FAIL_AT=$at FAIL_ERRNO=$errno FAIL_PATH="$work/run"
      if [[ $fired == no ]]; then break; fi
      points=$((points + 1))
      [[ $code == 8 ]] || die "$call $at $errno: exit $code, not 8"
      case $errno in ENOSPC) text='No space left' ;; EIO) text='Input/output error' ;; esac
      grep -v '^failing_write:' "$work/err" | grep -q "$text" || die "$call $at $errno: the message does not say why"
      grep -v '^failing_write:' "$work/err" | grep -q "$work/run" || die "$call $at $errno: the message does not say where"
      [[ ! -e $work/run/status.tmp ]] || die "$call $at $errno: a temporary file stayed"
      if [[ -e $work/run/out/data && $(sha256sum <"$work/run/out/data") != "$complete" ]]; then die "$call $at: data are torn"; fi
    done
    [[ $code == 0 && $((at - 1)) == "${expected[$call]}" ]] || die "$call: $((at - 1)) calls, expected ${expected[$call]}"
  done
  for ((at = 1; ; ++at)); do
    save FAIL_CALL=$call FAIL_AT=$at FAIL_MODE=kill FAIL_PATH="$work/run"
    if [[ $fired == no ]]; then break; fi
    points=$((points + 1))
    [[ $code == 137 ]] || die "$call $at kill: exit $code, not 137"
  done
done

for ((at = 1; ; ++at)); do
  save FAIL_CALL=write FAIL_AT=$at FAIL_MODE=short FAIL_PATH="$work/run"
  if [[ $fired == no ]]; then break; fi
  points=$((points + 1))
  [[ $code == 0 && $(sha256sum <"$work/run/out/data") == "$complete" ]] || die "a short write $at lost bytes"
done

save FAIL_CALL=write FAIL_AT=2+ FAIL_MODE=short FAIL_PATH="$work/run"
[[ $code == 0 && $(grep -c '^failing_write:' "$work/err") -gt 10 ]] || die "FAIL_AT=2+ fires once only"
save FAIL_CALL=write FAIL_PATH=/some/other/place
[[ $code == 0 && $fired == no ]] || die "FAIL_PATH is not heeded"
save FAIL_CALL=write FAIL_TEXT=bbb FAIL_MODE=kill FAIL_PATH="$work/run"
[[ $code == 137 && $(stat -c %s "$work/run/out/data") == 150002 ]] || die "FAIL_TEXT=bbb: the second write should end half done"

# Held at its second write until the file is moved, or ended when it goes.
mkdir "$work/hold" "$work/hold.released"
for release in moved gone; do
  save FAIL_CALL=write FAIL_TEXT=bbb FAIL_MODE=hold FAIL_HOLD="$work/hold" FAIL_PATH="$work/run" &
  until [[ -n $(ls "$work/hold") ]]; do sleep 0.01; done
  [[ $(stat -c %s "$work/run/out/data") == 100001 ]] || die "hold: the second write was made"
  if [[ $release == moved ]]; then mv "$work"/hold/* "$work/hold.released"; else rm "$work"/hold/*; fi
  wait $!
  [[ $(cat "$work/run/status") == $([[ $release == moved ]] && echo new || echo old) ]] || die "hold: the file $release, and the save went on wrongly"
done

echo "$points fault points"
