#!/usr/bin/env bash
# Installs PyTorch and transformers, of pinned versions, in a Python environment
# of their own for tests of the transformers adapter, and prints its interpreter:
#
#	${PARITYGATE_ENGINES:-~/.cache/paritygate/engines}/torch-2.13.0/bin/python
#
# PyPI's torch for Linux is built for CUDA and wants 2.3 GB of NVIDIA's libraries
# before it can be imported. Tests compute on the CPU, so only the two small ones
# that torch calls at its start are installed; the others are replaced by empty
# libraries with the same symbols, each of which aborts. What is installed here
# cannot use a GPU.
#
# A folder that is there is left alone, so running this again takes no time. It
# is made aside and renamed, so that it is never half there.
set -euo pipefail

torch=2.13.0
nvidia=(nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${PARITYGATE_ENGINES:-${XDG_CACHE_HOME:-$HOME/.cache}/paritygate/engines}
target=$root/torch-$torch
aside=
trap '[ -z "$aside" ] || rm -rf "$aside"' EXIT

# NVIDIA's libraries that torch links to, and how its symbols in each are told:
# by their version, or by the beginning of their name where they have none.
libraries=(
	libcublas.so.13=@libcublas.so.13 libcublasLt.so.13=@libcublasLt.so.13 libcudnn.so.9=@libcudnn.so.9
	libcufft.so.12=@libcufft.so.12 libcusparse.so.12=@libcusparse.so.12 libcusolver.so.12=@libcusolver.so.12
	libnvrtc.so.13=@libnvrtc.so.13 libnvshmem_host.so.3=@NVSHMEM
	libcusparseLt.so.0=cusparseLt libnccl.so.2=nccl libcurand.so.10=curand libcufile.so.0=cuFile
)

stubs() { # stubs FOLDER: makes what the libraries in FOLDER lack of NVIDIA's
	local dir=$1 entry name rule version source=$aside/stub.c map=$aside/stub.map
	nm -D --undefined-only --with-symbol-versions "$dir"/*.so | sed -n 's/^ *[Uw] //p' | sort -u >"$aside/undefined"
	readelf -d "$dir"/*.so | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u >"$aside/needed"
	for entry in "${libraries[@]}"; do
		name=${entry%%=*} rule=${entry#*=}
		grep -qxF "$name" "$aside/needed" || continue
		echo '#include <stdlib.h>' >"$source"
		if [ "${rule#@}" != "$rule" ]; then
			version="${rule#@} { global: *; };"
			sed -n "s/^\(.*\)$rule\$/void \1(void) { abort(); }/p" "$aside/undefined" >>"$source"
		else
			version="{ global: *; };"
			sed -n "s/^\($rule[A-Za-z0-9_]*\)\$/void \1(void) { abort(); }/p" "$aside/undefined" >>"$source"
		fi
		echo "$version" >"$map"
		${CC:-cc} -w -shared -fPIC -o "$dir/$name" "-Wl,-soname,$name" "-Wl,--version-script=$map" "$source"
	done
	rm "$aside/undefined" "$aside/needed" "$source" "$map"
}

install() {
	local tool pip site
	for tool in "${PYTHON:-python3}" "${CC:-cc}" nm readelf; do
		command -v "$tool" >/dev/null || { echo "torch.sh: $tool is missing" >&2; exit 1; }
	done
	mkdir -p "$root"
	aside=$(mktemp -d "$root/.install.XXXXXX")
	echo "installing torch $torch and transformers (0.6 GB)" >&2
	"${PYTHON:-python3}" -m venv "$aside"
	pip=("$aside/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps)
	"${pip[@]}" "torch==$torch" "${nvidia[@]}"
	"${pip[@]}" -r "$here/torch-requirements.txt"
	site=$("$aside/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
	stubs "$site/torch/lib"
	"$aside/bin/python" -c 'import torch, transformers; transformers.AutoModelForCausalLM; torch.ones(2, 2) @ torch.ones(2, 2)'
	chmod 755 "$aside"
	# Another install may have won: then this one is thrown away.
	mv -T "$aside" "$target" 2>/dev/null || [ -d "$target" ]
	rm -rf "$aside"
}

[ -e "$target" ] || install
echo "$target/bin/python"
