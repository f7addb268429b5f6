package engine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree makes empty files, or symbolic links where a name holds " -> ".
func tree(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range names {
		name, target, link := strings.Cut(name, " -> ")
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil && link {
			err = os.Symlink(target, path)
		} else if err == nil {
			err = os.WriteFile(path, []byte(name[:len(name)%7]), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFindLlamaLibs(t *testing.T) {
	for name, c := range map[string]struct {
		files   []string
		path    string
		link    []string
		release string
		err     string
	}{
		"a build folder": {
			files: []string{"bin/libllama.so", "bin/libggml.so", "bin/libggml-base.so", "bin/libggml-cpu.so", "bin/libllama-common.so"},
			link:  []string{"bin/libllama.so", "bin/libggml.so", "bin/libggml-base.so"},
		},
		"an installed tree with links": {
			files: []string{"lib/libllama.so.0", "lib/libllama.so -> libllama.so.0", "lib/libggml.so", "lib/libggml-base.so"},
			link:  []string{"lib/libllama.so", "lib/libggml.so", "lib/libggml-base.so"},
		},
		"releases in names": {
			files: []string{"libllama.b7698.so", "libggml.b7698.so", "libggml-base.so.0", "libggml-cuda.so"},
			link:  []string{"libllama.b7698.so", "libggml.b7698.so", "libggml-base.so.0"}, release: "b7698",
		},
		"a device and a release in names": {
			files: []string{"libllama.cuda.v0.5.0.so", "libggml.cuda.v0.5.0.so", "libggml-base.so", "libggml-cuda.so"},
			link:  []string{"libllama.cuda.v0.5.0.so", "libggml.cuda.v0.5.0.so", "libggml-base.so"}, release: "v0.5.0",
		},
		"old libraries in two folders": {
			files: []string{"src/libllama.so", "ggml/src/libggml.so"},
			link:  []string{"src/libllama.so", "ggml/src/libggml.so"},
		},
		"one file": {
			files: []string{"a/libllama.so", "a/libggml.so", "b/libllama.so"}, path: "a/libllama.so",
			link: []string{"a/libllama.so", "a/libggml.so"},
		},
		"the release of the folder": {files: []string{"llama-b4321/lib/libllama.so"}, link: []string{"llama-b4321/lib/libllama.so"}, release: "b4321"},
		"a linked folder":           {files: []string{"real/libllama.so", "lib -> real"}, path: "lib", link: []string{"real/libllama.so"}},
		"nothing":                   {files: []string{"libllama.a"}, err: "no libllama.so"},
		"no such folder":            {path: "none", err: "no such file"},
		"two versions":              {files: []string{"libllama.b1.so", "libllama.b12345.so"}, err: "two versions of libllama"},
	} {
		t.Run(name, func(t *testing.T) {
			root := tree(t, c.files...)
			l, err := findLlamaLibs(filepath.Join(root, c.path))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, f := range c.link {
				want = append(want, filepath.Join(root, f))
			}
			if !slices.Equal(l.link, want) || l.release != c.release {
				t.Errorf("links %v of release %q, want %v of %q", l.link, l.release, want, c.release)
			}
		})
	}
}

func TestFindHeaders(t *testing.T) {
	all := func(dirs ...string) []string {
		var out []string
		for i, h := range []string{"llama.h", "ggml.h", "ggml-backend.h", "gguf.h"} {
			out = append(out, filepath.Join(dirs[min(i, len(dirs)-1)], h))
		}
		return out
	}
	for name, c := range map[string]struct {
		files []string
		path  string
		want  []string
		err   string
	}{
		"one folder":               {files: all("."), want: []string{"."}},
		"an installed tree":        {files: all("include"), want: []string{"include"}},
		"a source tree":            {files: all("include", "ggml/include"), want: []string{"include", "ggml/include"}},
		"its include":              {files: all("include", "ggml/include"), path: "include", want: []string{"include", "ggml/include"}},
		"headers without ggml's":   {files: []string{"llama.h"}, err: "no ggml.h"},
		"a folder without any":     {files: []string{"x"}, err: "no llama.h"},
		"a folder that is no more": {path: "none", err: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			root := tree(t, c.files...)
			got, err := findHeaders(filepath.Join(root, c.path))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, d := range c.want {
				want = append(want, filepath.Join(root, d))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
}

func TestWeightFiles(t *testing.T) {
	if got := weightFiles("/m/a.gguf"); !slices.Equal(got, []string{"/m/a.gguf"}) {
		t.Error(got)
	}
	if got := weightFiles("/m/a-00002-of-00002.gguf"); !slices.Equal(got, []string{"/m/a-00001-of-00002.gguf", "/m/a-00002-of-00002.gguf"}) {
		t.Error(got)
	}
}
