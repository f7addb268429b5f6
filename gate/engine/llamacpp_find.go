package engine

import (
	"fmt"
	"path/filepath"
	"strings"
)

// llamaPrefixes are where an installed llama.cpp is looked for, in this order,
// after $LLAMA_CPP.
var llamaPrefixes = []string{"/opt/llama.cpp", "/usr/local", "/opt/homebrew", "/usr"}

// FindLlamaCpp looks for an installed llama.cpp: the folders of its libraries
// and of its headers. $LLAMA_CPP, an installation's prefix with lib and include
// or a built source tree, is the only place when it is set. The error lists
// where it was looked for.
func FindLlamaCpp(getenv func(string) string) (library, headers string, err error) {
	prefixes := llamaPrefixes
	if p := getenv("LLAMA_CPP"); p != "" {
		prefixes = []string{p}
	}
	for _, p := range prefixes {
		for _, lib := range []string{"lib", "lib64", "build/bin", "build"} {
			library = filepath.Join(p, lib)
			if _, err := findLlamaLibs(library); err != nil {
				continue
			}
			if _, err := findHeaders(p); err == nil {
				return library, p, nil
			}
		}
	}
	return "", "", fmt.Errorf("no llama.cpp in %s: name its folders with library and headers, or its prefix in LLAMA_CPP", strings.Join(prefixes, ", "))
}
