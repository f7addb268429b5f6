#!/usr/bin/env bash
# Installs emulate, an independent emulator of GitHub's API, from npm, with the
# Node.js that it needs, and prints the folder:
#
#	${XDG_CACHE_HOME:-~/.cache}/paritygate/emulate-VERSION/node_modules/{emulate,node-linux-*}
#
# A folder that is there is left alone. It is made aside and renamed, so that it
# is never half there. No package's install script is run.
set -euo pipefail

version=0.12.2 # 1.0.2 was another package of the same name
node=22.23.3

case "$(uname -s)-$(uname -m)" in
Linux-x86_64) platform=linux-x64 ;;
Linux-aarch64 | Linux-arm64) platform=linux-arm64 ;;
*)
	echo "install.sh: no Node.js $node from npm for $(uname -s) on $(uname -m): want Linux on x86_64 or arm64" >&2
	exit 1
	;;
esac

root=${XDG_CACHE_HOME:-$HOME/.cache}/paritygate
target=$root/emulate-$version
if [ ! -e "$target" ]; then
	command -v npm >/dev/null || { echo "install.sh: npm is missing" >&2; exit 1; }
	mkdir -p "$root"
	aside=$(mktemp -d "$root/.emulate.XXXXXX")
	trap 'rm -rf "$aside"' EXIT
	echo "installing emulate $version" >&2
	npm install --prefix "$aside" --no-audit --no-fund --loglevel=error --ignore-scripts \
		"emulate@$version" commander@14.0.3 picocolors@1.1.1 yaml@2.9.1 "node-$platform@$node" >/dev/null
	ln -s "node_modules/node-$platform/bin/node" "$aside/node"
	"$aside/node" --version >/dev/null
	chmod 755 "$aside"
	# Another that installs may have been faster, and what it made is as good.
	mv -T "$aside" "$target" 2>/dev/null || [ -x "$target/node" ]
fi
echo "$target"
