# The image that the Action runs engines in: one static program, and the
# compiler that it builds its llama.cpp probe with.
#
#	docker build --build-arg VERSION=v1.2.3 --tag paritygate .
#	docker build --build-arg BASE=nvidia/cuda:12.9.1-runtime-ubuntu24.04 --tag paritygate:cuda .
#
# BASE is any image with apt-get, or one with a C++ compiler of its own: your
# engine's libraries run on it. Engines that need more than that are run in an
# image of yours, into which the Action mounts the program.

# Both by the digest of the index, which has amd64 and arm64.
ARG GO_IMAGE=golang:1.26-bookworm@sha256:a688600ca24f8a4d3ca77f95b0dd40704a9fc787c826660eb7ba0b641b8b175d
ARG BASE=debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251

# Compiled on the builder's platform for the one that is asked for: nothing is
# emulated. A builder without platforms leaves all three variables empty.
FROM --platform=${BUILDPLATFORM:-linux} ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -buildvcs=false \
	-ldflags "-s -w -X github.com/paritygate/paritygate/gate/cli.version=${VERSION}" -o /out/paritygate . && \
	rm -rf "$(go env GOCACHE)"

FROM ${BASE}

# Only what compiling one C++20 program and linking it against shared libraries
# takes: most of what the compiler brings is for C, for optimising at link time,
# for sanitizers, profilers and static programs. The last lines try what is left.
RUN set -eu; \
	command -v c++ >/dev/null && exit 0; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq; \
	apt-get install -y -qq --no-install-recommends g++ >/dev/null; \
	exec=$(dirname "$(g++ -print-prog-name=cc1plus)"); gcc=$(dirname "$(g++ -print-libgcc-file-name)"); \
	lib=$(dirname "$(g++ -print-file-name=crt1.o)"); triplet=$(g++ -dumpmachine); \
	rm -rf "$exec"/cc1 "$exec"/lto1 "$exec"/lto-wrapper "$exec"/g++-mapper-server "$exec"/plugin "$gcc"/plugin; \
	find "$gcc" -name '*.a' ! -name libgcc.a ! -name libgcc_eh.a -delete; \
	find "$lib" -maxdepth 1 -name '*.a' ! -name libc_nonshared.a ! -name libpthread.a ! -name libdl.a -delete; \
	rm -rf "$lib"/lib[ahltu]*san.so* "$lib"/libitm.so* "$lib"/libquadmath.so* "$lib"/libgprofng* "$lib"/gprofng; \
	find /usr/bin -name "$triplet-*" ! -name '*-as' ! -name '*-ld' ! -name '*-ld.bfd' ! -name '*-g++*' -delete; \
	find /usr/bin -xtype l -delete; \
	find /usr/share/doc -type f ! -name copyright -delete; \
	rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /var/lib/dpkg/*-old /usr/share/man/*; \
	printf '#include <string>\n#include <thread>\nint main() { std::thread([] {}).join(); return std::string().size(); }\n' >/tmp/try.cpp; \
	c++ -std=c++20 -O2 -o /tmp/try /tmp/try.cpp -ldl -pthread; \
	/tmp/try; \
	rm /tmp/try /tmp/try.cpp

# Go looks here too: a base that has certificates of its own keeps them.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/cert.pem
COPY LICENSE /usr/share/licenses/paritygate/LICENSE
COPY --from=build /out/paritygate /usr/local/bin/paritygate

# The Action runs the image as the runner's user, whose number is not known
# here: what it may write to is /tmp.
ENV HOME=/tmp
WORKDIR /tmp

ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="paritygate" \
	org.opencontainers.image.description="Layer-by-layer numeric parity of LLM inference engines" \
	org.opencontainers.image.source="https://github.com/paritygate/paritygate" \
	org.opencontainers.image.licenses="Apache-2.0" \
	org.opencontainers.image.version="${VERSION}" \
	org.opencontainers.image.revision="${REVISION}"

HEALTHCHECK NONE
ENTRYPOINT ["/usr/local/bin/paritygate"]
CMD ["--help"]
