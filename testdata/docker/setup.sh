#!/usr/bin/env bash
# Gives the tests of the image and of the Action what they run in: a Docker
# daemon, the images that the Dockerfile begins from, act, and GitHub's own
# client of the artifact store.
#
#	setup.sh       makes what is missing; running it again is quick
#	setup.sh stop  ends the daemon that setup.sh started, and no other
#
#	${XDG_CACHE_HOME:-~/.cache}/paritygate/docker/
#		host                DOCKER_HOST, for the tests
#		data, exec, *.sock  of the daemon, where setup.sh had to start one
#		bookworm-slim.tar.gz  the base, where it could not be pulled
#		upload-artifact/    testdata/act/upload-artifact with npm's @actions/artifact
#	${XDG_CACHE_HOME:-~/.cache}/paritygate/bin/act-VERSION
#
# A daemon that answers, by $DOCKER_HOST or in the usual place, is used. Base
# images are pulled by the digests in the Dockerfile; where no registry can be
# reached, images of the same content are made from Debian's packages and this
# machine's Go. That, and starting a daemon, takes root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

act=v0.2.89
base_tag=paritygate-test/debian:bookworm-slim
go_tag=paritygate-test/golang:bookworm

cache=${XDG_CACHE_HOME:-$HOME/.cache}/paritygate
dir=$cache/docker
pidfile=$dir/docker.pid
socket=unix://$dir/docker.sock

die() { echo "setup.sh: $*" >&2; exit 1; }

answers() { timeout 20 docker ${1:+-H "$1"} version --format '{{.Server.Version}}' >/dev/null 2>&1; }

quietly() { # quietly COMMAND...: what it says is only of interest when it fails
	local said
	said=$("$@" 2>&1) || { echo "$said" >&2; die "failed: $*"; }
}

own_daemon() { # the id of the daemon that setup.sh started, if it runs
	local pid
	pid=$(cat "$pidfile" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] && echo "$pid"
}

stop() {
	local pid
	pid=$(own_daemon) || return 0
	kill "$pid"
	for _ in $(seq 150); do [ -d "/proc/$pid" ] || return 0; sleep 0.2; done
	die "the daemon $pid does not end"
}

start() { # start OPTION...: whether a daemon with these options comes up
	local pid
	setsid nohup dockerd --data-root "$dir/data" --exec-root "$dir/exec" -H "$socket" --pidfile "$pidfile" "$@" \
		>"$dir/dockerd.log" 2>&1 </dev/null 9>&- &
	pid=$!
	for _ in $(seq 120); do
		answers "$socket" && return 0
		[ -d "/proc/$pid" ] || return 1
		sleep 0.5
	done
	stop
	return 1
}

daemon() { # exports DOCKER_HOST of a daemon that answers
	command -v docker >/dev/null || die "docker is missing: install docker.io or Docker's own packages"
	local host=${DOCKER_HOST:-}
	if answers "$host"; then
		[ -n "$host" ] || host=$(docker context inspect --format '{{.Endpoints.docker.Host}}')
	elif answers "$socket"; then
		host=$socket
	else
		[ "$(id -u)" = 0 ] || die "no Docker daemon answers, and only root may start one: start it, or add yourself to its group"
		command -v dockerd >/dev/null || die "no Docker daemon answers, and dockerd is missing: install docker.io"
		echo "starting a Docker daemon" >&2
		# Inside a container overlayfs may be refused, and so may the network.
		start || start --storage-driver vfs || start --storage-driver vfs --iptables=false --ip6tables=false --bridge none ||
			{ tail -n 20 "$dir/dockerd.log" >&2; die "the Docker daemon does not start"; }
		host=$socket
	fi
	export DOCKER_HOST=$host
	[ "$(cat "$dir/host" 2>/dev/null)" = "$host" ] || { echo "$host" >"$dir/.host" && mv "$dir/.host" "$dir/host"; }
}

has() { # has TAG LABEL: the image is there, made for what LABEL says
	[ "$(docker image inspect --format '{{index .Config.Labels "paritygate.test"}}' "$1" 2>/dev/null)" = "$2" ]
}

# pinned prints the default of an argument of the Dockerfile.
pinned() { sed -n "s/^ARG $1=//p" Dockerfile; }

pull() { # pull IMAGE TAG LABEL: false where no registry can be reached
	local said
	if ! said=$(timeout 600 docker pull --quiet "$1" 2>&1); then
		case $said in
		*'manifest unknown'* | *"$1: not found"* | *'no matching manifest'*) die "$1, which the Dockerfile pins: $said" ;;
		esac
		return 1
	fi
	quietly docker build --tag "$2" - <<<"FROM $1
LABEL paritygate.test=\"$3\""
}

base_image() ( # a subshell, for its own trap
	local tarball=$dir/bookworm-slim.tar.gz label work
	label=$(pinned BASE)
	has $base_tag "$label" && return
	pull "$label" $base_tag "$label" && return
	if [ ! -e "$tarball" ]; then
		[ "$(id -u)" = 0 ] || die "$label cannot be pulled, and only root may make an image like it"
		command -v debootstrap >/dev/null || die "$label cannot be pulled, and debootstrap, which makes one like it, is missing"
		echo "making a Debian image" >&2
		work=$(mktemp -d "$dir/.rootfs.XXXXXX")
		trap 'rm -rf "$work"' EXIT
		debootstrap --variant=minbase bookworm "$work/root" >"$dir/debootstrap.log" 2>&1 ||
			{ tail -n 20 "$dir/debootstrap.log" >&2; die "debootstrap failed"; }
		# Slim as the published image is: of the documentation only the licences, now and later.
		local p
		for p in doc info locale man; do
			echo "path-exclude /usr/share/$p/*"
			find "$work/root/usr/share/$p" ! -type d ! -name copyright -delete
		done >"$work/root/etc/dpkg/dpkg.cfg.d/slim"
		echo 'path-include /usr/share/doc/*/copyright' >>"$work/root/etc/dpkg/dpkg.cfg.d/slim"
		rm -rf "$work/root"/var/{cache/apt/*.bin,cache/apt/archives/*.deb,lib/apt/lists/*,log/*} "$work/root"/dev/*
		tar -C "$work/root" --numeric-owner -c . | gzip -1 >"$work/tar"
		mv "$work/tar" "$tarball"
	fi
	quietly docker import -c 'CMD ["bash"]' -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
		-c "LABEL paritygate.test=\"$label\"" "$tarball" $base_tag
)

go_image() ( # the base, this machine's Go, and its packages compiled as the Dockerfile compiles
	local label work root
	label="$(pinned GO_IMAGE) $(go env GOVERSION)"
	has $go_tag "$label" && return
	pull "$(pinned GO_IMAGE)" $go_tag "$label" && return
	echo "making a Go image" >&2
	work=$(mktemp -d "$dir/.golang.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	root=$(go env GOROOT)
	mkdir -p "$work/usr/local/go" "$work/etc/ssl/certs"
	cp -a "$root"/{VERSION,bin,pkg,src} "$work/usr/local/go/"
	[ ! -e "$root/go.env" ] || cp -a "$root/go.env" "$work/usr/local/go/"
	cp /etc/ssl/certs/ca-certificates.crt "$work/etc/ssl/certs/"
	# Few steps: where there is only the vfs driver, each copies everything.
	cat >"$work/Dockerfile" <<-EOF
		FROM $base_tag
		COPY . /
		ENV GOTOOLCHAIN=local GOPATH=/go PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
		RUN rm Dockerfile && CGO_ENABLED=0 go build -trimpath std
	EOF
	quietly docker build --label paritygate.test="$label" --tag $go_tag "$work"
)

tools() {
	if [ ! -x "$cache/bin/act-$act" ]; then
		echo "installing act $act" >&2
		local aside
		aside=$(mktemp -d "$dir/.act.XXXXXX")
		(cd / && GOBIN=$aside GOFLAGS='' go install "github.com/nektos/act@$act") 2>"$dir/act.log" ||
			{ cat "$dir/act.log" >&2; die "act cannot be installed"; }
		mkdir -p "$cache/bin"
		mv "$aside/act" "$cache/bin/act-$act"
		rmdir "$aside"
	fi
	local aside stamp source=testdata/act/upload-artifact target=$dir/upload-artifact
	stamp=$(cat $source/* testdata/docker/setup.sh | sha256sum)
	if [ "$(cat "$target/stamp" 2>/dev/null)" != "$stamp" ]; then
		command -v npm >/dev/null || die "npm is missing"
		echo "installing @actions/artifact" >&2
		aside=$(mktemp -d "$dir/.artifact.XXXXXX")
		mkdir "$aside/action"
		cp $source/* "$aside/"
		npm install --prefix "$aside" --no-audit --no-fund --loglevel=error --ignore-scripts >/dev/null
		"$aside/node_modules/.bin/esbuild" "$aside/main.mjs" --bundle --keep-names --platform=node --target=node20 --format=esm --log-level=error \
			--banner:js='import {createRequire as from} from "node:module"; const require = from(import.meta.url);' --outfile="$aside/action/index.mjs"
		mv "$aside/action.yml" "$aside/action/"
		echo "$stamp" >"$aside/action/stamp"
		rm -rf "$target"
		mv "$aside/action" "$target"
		rm -rf "$aside"
	fi
}

[ $# -eq 0 ] || [ "$*" = stop ] || die "unknown arguments: $*; want none, or stop"
mkdir -p "$dir"
exec 9>"$dir/lock"
flock 9
if [ "${1:-}" = stop ]; then
	stop
	exit
fi
tools &
installing=$!
daemon
base_image
go_image
wait $installing
# What earlier builds of these images left behind.
docker image prune --force --filter label=paritygate.test --filter until=24h >/dev/null
