# temper with its CUDA backend, in two stages: the toolkit's image builds the Debian package, the run-time image installs it.
# Nobody has built this file yet: temper is developed where there is no Docker. tests/integration/install.py tests the package that it makes.
#   docker build -t temper .
#   docker run --rm --gpus all temper doctor
#   docker run --rm --gpus all --shm-size 1g -v "$PWD:/work" temper train configs/gpt2-124m.json --out runs/124m
ARG CUDA=12.9.1
FROM nvidia/cuda:${CUDA}-devel-ubuntu24.04 AS build
WORKDIR /source
COPY scripts/setup.sh scripts/
COPY cmake/packages.txt cmake/
RUN scripts/setup.sh && apt-get install -y --no-install-recommends dpkg-dev file && rm -rf /var/lib/apt/lists/*
COPY . .
RUN cmake --preset cuda -DTEMPER_TESTS=OFF && cmake --build --preset cuda \
 && cpack --config build/cuda/CPackConfig.cmake -G DEB -B /package

FROM nvidia/cuda:${CUDA}-runtime-ubuntu24.04
COPY --from=build /package/*.deb /package/
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends /package/*.deb python3 python3-matplotlib openmpi-bin \
 && rm -rf /var/lib/apt/lists/* /package
WORKDIR /work
ENTRYPOINT ["temper"]
