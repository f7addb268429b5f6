#!/usr/bin/env bash
# Installs the real engines that tests and examples run: prebuilt llama.cpp
# libraries for the CPU with their own headers, of three versions, from npm.
#
#	${PARITYGATE_ENGINES:-~/.cache/paritygate/engines}/
#		llamacpp-v0.5.0/{lib,include,node}  the main one, with the npm package's own Node program
#		llamacpp-b7698/{lib,include}        older: other fields in the parameters' structs
#		llamacpp-b5640/{lib,include}        older still
#
# A folder that is there is left alone, so running this again takes no time. A
# folder is made aside and renamed, so that none is ever half there.
set -euo pipefail

root=${PARITYGATE_ENGINES:-${XDG_CACHE_HOME:-$HOME/.cache}/paritygate/engines}
main=v0.5.0
versions=(v0.5.0=3.22.1 b7698=3.15.0 b5640=3.10.0) # llama.cpp's release = the npm packages'

case "$(uname -s)-$(uname -m)" in
Linux-x86_64) platform=linux-x64 ;;
Linux-aarch64 | Linux-arm64) platform=linux-arm64 ;;
*)
	echo "install.sh: no prebuilt engine for $(uname -s) on $(uname -m): want Linux on x86_64 or arm64" >&2
	exit 1
	;;
esac

install() { # install RELEASE NPM_VERSION
	local release=$1 version=$2 target=$root/llamacpp-$1 packages got
	[ -e "$target" ] && return
	for tool in npm git; do
		command -v $tool >/dev/null || { echo "install.sh: $tool is missing" >&2; exit 1; }
	done
	mkdir -p "$root"
	aside=$(mktemp -d "$root/.install.XXXXXX")
	echo "installing llama.cpp $release" >&2
	# Two calls: --omit=optional keeps out other platforms' libraries, and this one's with them.
	npm install --prefix "$aside/node" --no-audit --no-fund --loglevel=error --ignore-scripts --omit=optional "node-llama-cpp@$version" >/dev/null
	npm install --prefix "$aside/bins" --no-audit --no-fund --loglevel=error --ignore-scripts "@node-llama-cpp/$platform@$version" >/dev/null
	packages=$aside/node/node_modules
	mkdir -p "$packages/@node-llama-cpp"
	mv "$aside/bins/node_modules/@node-llama-cpp/$platform" "$packages/@node-llama-cpp/"
	got=$(sed -n 's/.*"release": *"\([^"]*\)".*/\1/p' "$packages/node-llama-cpp/llama/binariesGithubRelease.json")
	if [ "$got" != "$release" ]; then
		echo "install.sh: npm package $version holds llama.cpp $got, expected $release" >&2
		exit 1
	fi

	git clone --quiet --config advice.detachedHead=false "$packages/node-llama-cpp/llama/gitRelease.bundle" "$aside/source"
	mkdir "$aside/include"
	cp "$aside/source"/include/*.h "$aside/source"/ggml/include/*.h "$aside/include/"
	rm -rf "$aside/source" "$aside/bins" "$packages/node-llama-cpp/llama/gitRelease.bundle"

	local bins=node_modules/@node-llama-cpp/$platform/bins/$platform
	if [ "$release" = "$main" ]; then
		ln -s "node/$bins" "$aside/lib"
	else
		mv "$aside/node/$bins" "$aside/lib"
		rm -rf "$aside/node"
	fi
	chmod 755 "$aside"
	# Another install may have won: then this one is thrown away.
	mv -T "$aside" "$target" 2>/dev/null || [ -d "$target" ]
	rm -rf "$aside"
}

aside=
trap '[ -z "$aside" ] || rm -rf "$aside"' EXIT
for v in "${versions[@]}"; do
	install "${v%%=*}" "${v#*=}"
done
