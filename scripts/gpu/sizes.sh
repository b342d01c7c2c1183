# How large the stages of scripts/gpu_check.sh are, said nowhere else: tests/integration/gpu_rehearsal.py puts a file with small ones in this place.
# shellcheck shell=bash disable=SC2034

smoke=(--model 124m --batch 4 --context 256 --warmup 1 --steps 3)
timed=(--context 1024 --warmup 5 --steps 20)  # steps, of these models and batches
step_model='124m 64'
other_models='350m 32
774m 16
1558m 8'
kernels=(--batch 64 --context 1024)
counters=(--batch 64 --context 1024 --repetitions 1 --min-time 0)
training=(batch.tokens_per_step=32768 batch.micro_batch=16 schedule.warmup_steps=20)
training_steps=200
training_learns=2  # nats
attention=()       # the scripts' own
pytorch=()
