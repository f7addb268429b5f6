package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// llamaLibs are the user's llama.cpp libraries.
type llamaLibs struct {
	// dir is the folder of libllama, where its backends lie, too.
	dir string
	// link are the files to link with: libllama, libggml, libggml-base.
	link []string
	// dirs are the folders of link, for the loader.
	dirs []string
	// release is the release in the library's name or folder, "b7698"; "" when neither says.
	release string
}

var (
	// Packagers put releases and more into the names: libllama.b7698.so.0, libllama.cuda.v0.5.0.so.
	llamaFile = regexp.MustCompile(`^libllama(\.[a-z0-9]+)*\.(so|dylib)(\.[0-9.]+)?$`)
	// ggmlFile leaves out the backends, libggml-cpu and its like, which are loaded when needed.
	ggmlFile  = regexp.MustCompile(`^libggml(-base)?(\.[a-z0-9]+)*\.(so|dylib)(\.[0-9.]+)?$`)
	inFile    = regexp.MustCompile(`^libllama(?:\.[a-z]+)*\.([bv][0-9]+(?:\.[0-9]+)*)\.`)
	inFolder  = regexp.MustCompile(`(?:^|[-_.])(b[0-9]{4,6}|v[0-9]+\.[0-9]+\.[0-9]+)$`)
	libLevels = 3
)

// findLlamaLibs finds the libraries in a folder or below it, or next to a
// libllama that path names.
func findLlamaLibs(path string) (llamaLibs, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return llamaLibs{}, err
	}
	fi, err := os.Stat(abs)
	if err != nil {
		return llamaLibs{}, fmt.Errorf("%s: %w", path, bare(err))
	}
	var l llamaLibs
	root := abs
	if !fi.IsDir() {
		root = filepath.Dir(abs)
		l.link = []string{abs}
	} else {
		if root, err = filepath.EvalSymlinks(abs); err != nil { // a walk does not follow a link at its root
			return llamaLibs{}, fmt.Errorf("%s: %w", path, bare(err))
		}
		found, err := onlyLibrary(root, llamaFile)
		if err != nil {
			return l, err
		}
		l.link = []string{found}
	}
	l.dir = filepath.Dir(l.link[0])
	for _, part := range []string{"libggml", "libggml-base"} {
		pattern := func(name string) bool {
			return ggmlFile.MatchString(name) && strings.HasPrefix(name, "libggml-base") == (part == "libggml-base")
		}
		if f := nearest(root, l.dir, pattern); f != "" {
			l.link = append(l.link, f)
		}
	}
	for _, f := range l.link {
		if d := filepath.Dir(f); !slices.Contains(l.dirs, d) {
			l.dirs = append(l.dirs, d)
		}
	}
	if l.release = releaseOf(l.link[0]); l.release == "" {
		l.release = releaseOf(filepath.Join(abs, "libllama")) // the folder's name as the user gave it
	}
	return l, nil
}

// onlyLibrary is the one libllama below root; the highest folder wins, links to
// the same file count once.
func onlyLibrary(root string, pattern *regexp.Regexp) (string, error) {
	all := libraries(root, pattern.MatchString)
	if len(all) == 0 {
		return "", fmt.Errorf("no libllama.so in %s or the folders below it: name the folder of llama.cpp's shared libraries (a build with BUILD_SHARED_LIBS=ON has them in build/bin)", root)
	}
	for _, f := range all[1:] {
		if filepath.Dir(f) == filepath.Dir(all[0]) && !sameContent(f, all[0]) {
			return "", fmt.Errorf("%s holds two versions of libllama, %s and %s: name one file", filepath.Dir(f), filepath.Base(all[0]), filepath.Base(f))
		}
	}
	return all[0], nil
}

// nearest is a library in dir, or else below root.
func nearest(root, dir string, match func(string) bool) string {
	if all := libraries(dir, match); len(all) > 0 && filepath.Dir(all[0]) == dir {
		return all[0]
	}
	if all := libraries(root, match); len(all) > 0 {
		return all[0]
	}
	return ""
}

// libraries are the matching files below root, highest folders and shortest
// names first: libllama.so before libllama.so.0.
func libraries(root string, match func(string) bool) []string {
	var out []string
	_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // a folder that cannot be read holds nothing for us
		}
		if d.IsDir() {
			if rel, _ := filepath.Rel(root, p); strings.Count(rel, string(filepath.Separator)) >= libLevels {
				return fs.SkipDir
			}
			return nil
		}
		if match(d.Name()) {
			out = append(out, p)
		}
		return nil
	})
	depth := func(p string) int { return strings.Count(p, string(filepath.Separator)) }
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if depth(a) != depth(b) {
			return depth(a) < depth(b)
		}
		if len(a) != len(b) {
			return len(a) < len(b)
		}
		return a < b
	})
	return out
}

// sameContent says whether two files are one: the same inode, or copies of one
// size, as packages unpack links.
func sameContent(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && (os.SameFile(x, y) || x.Size() == y.Size())
}

// releaseOf is the release that the library's file name or one of its two
// folders names.
func releaseOf(lib string) string {
	if m := inFile.FindStringSubmatch(filepath.Base(lib)); m != nil {
		return m[1]
	}
	dir := filepath.Dir(lib)
	for range 2 {
		if m := inFolder.FindStringSubmatch(filepath.Base(dir)); m != nil {
			return m[1]
		}
		dir = filepath.Dir(dir)
	}
	return ""
}

// findHeaders are the include folders that hold llama.h, ggml.h and
// ggml-backend.h: one folder, or a source tree's include and ggml/include.
func findHeaders(path string) ([]string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(abs); err != nil {
		return nil, fmt.Errorf("%s: %w", path, bare(err))
	}
	places := []string{".", "include", "ggml/include", "../ggml/include", "include/llama", "include/ggml"}
	var dirs []string
	for _, header := range []string{"llama.h", "ggml.h", "ggml-backend.h", "gguf.h"} {
		i := slices.IndexFunc(places, func(p string) bool {
			fi, err := os.Stat(filepath.Join(abs, p, header))
			return err == nil && fi.Mode().IsRegular()
		})
		if i < 0 {
			return nil, fmt.Errorf("no %s in %s, its include or its ggml/include: name the folder with the headers of the library's own version", header, path)
		}
		if d := filepath.Join(abs, places[i]); !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	if len(dirs) == 0 {
		return nil, errors.New("no headers")
	}
	return dirs, nil
}
