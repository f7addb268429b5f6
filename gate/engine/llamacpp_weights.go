package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

var splitName = regexp.MustCompile(`^(.*)-([0-9]{5})-of-([0-9]{5})\.gguf$`)

// weightFiles are the files of a model: the file, or all parts of a split one.
func weightFiles(model string) []string {
	m := splitName.FindStringSubmatch(model)
	if m == nil {
		return []string{model}
	}
	n, _ := strconv.Atoi(m[3])
	var files []string
	for i := 1; i <= n; i++ {
		files = append(files, fmt.Sprintf("%s-%05d-of-%s.gguf", m[1], i, m[3]))
	}
	return files
}

// weightsSHA256 is the hex SHA-256 of the model's file, or of the parts of a
// split model one after the other.
func weightsSHA256(ctx context.Context, model string, o Options) (string, error) {
	return filesSHA256(ctx, model, weightFiles(model), o)
}

// filesSHA256 is the hex SHA-256 of the files one after the other. It is kept in
// the cache folder and found there while path, size and time of every file are
// the same.
func filesSHA256(ctx context.Context, model string, files []string, o Options) (string, error) {
	key := sha256.New()
	for _, f := range files {
		fi, err := os.Stat(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(key, "%q %d %d\n", f, fi.Size(), fi.ModTime().UnixNano())
	}
	// The cache only saves time: to have none, or not to be able to write it, is no failure.
	kept := ""
	if cache, err := o.cacheDir(); err == nil {
		kept = filepath.Join(cache, "weights", hex.EncodeToString(key.Sum(nil)[:16]))
	}
	if b, err := os.ReadFile(kept); err == nil && len(b) == 64 && strings.Trim(string(b), "0123456789abcdef") == "" {
		return string(b), nil
	}
	o.progress("hashing %s", Sanitize(filepath.Base(model)))
	defer o.progress("")
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for _, f := range files {
		if err := hashFile(ctx, h, f, buf); err != nil {
			return "", err
		}
	}
	sum := hex.EncodeToString(h.Sum(nil))
	if kept != "" && os.MkdirAll(filepath.Dir(kept), 0o755) == nil {
		if aside, err := os.CreateTemp(filepath.Dir(kept), ".sum-"); err == nil {
			_, werr := aside.WriteString(sum)
			if cerr := aside.Close(); werr != nil || cerr != nil || os.Rename(aside.Name(), kept) != nil {
				_ = os.Remove(aside.Name())
			}
		}
	}
	return sum, nil
}

func hashFile(ctx context.Context, w io.Writer, path string, buf []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.Read(buf)
		_, _ = w.Write(buf[:n]) // a hash takes everything
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
