package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxIndex bounds the index of a split model, which is read whole; those of the
// largest published models have a few megabytes.
const maxIndex = 256 << 20

// huggingFaceWeights are the files that hold the weights of the model in a
// folder, as transformers chooses them: model.safetensors, or those that
// model.safetensors.index.json names. The error says what the folder lacks.
func huggingFaceWeights(folder string) ([]string, error) {
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("model %s does not exist: want a folder with config.json and *.safetensors; nothing is loaded from a hub", folder)
	case err != nil:
		return nil, fmt.Errorf("model %s: %w", folder, bare(err))
	case !info.IsDir():
		return nil, fmt.Errorf("model %s is a file: transformers wants a folder with config.json and *.safetensors; name it as the engine's own model", folder)
	}
	if _, err := os.Stat(filepath.Join(folder, "config.json")); err != nil {
		return nil, fmt.Errorf("model %s has no config.json%s", folder, contents(folder))
	}
	if whole := filepath.Join(folder, "model.safetensors"); exists(whole) {
		return []string{whole}, nil
	}
	index := filepath.Join(folder, "model.safetensors.index.json")
	if !exists(index) {
		return nil, fmt.Errorf("model %s has neither model.safetensors nor model.safetensors.index.json%s", folder, contents(folder))
	}
	return indexedFiles(folder, index)
}

// indexedFiles are the files of a split model in the order of their names.
func indexedFiles(folder, index string) ([]string, error) {
	if fi, err := os.Stat(index); err != nil || fi.Size() > maxIndex {
		return nil, fmt.Errorf("%s is larger than %d bytes, or cannot be looked at", index, maxIndex)
	}
	data, err := os.ReadFile(index)
	if err != nil {
		return nil, err
	}
	var content struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &content); err != nil {
		return nil, fmt.Errorf("%s: %w", index, err)
	}
	var files []string
	for tensor, name := range content.WeightMap {
		if name == "" || name != filepath.Base(name) || name == ".." || name == "." {
			return nil, fmt.Errorf("%s: weight_map: %q lies in %q, which is no file of this folder", index, tensor, name)
		}
		files = append(files, filepath.Join(folder, name))
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: weight_map names no file", index)
	}
	slices.Sort(files)
	files = slices.Compact(files)
	for _, f := range files {
		if !exists(f) {
			return nil, fmt.Errorf("%s names %s, which is not there", index, filepath.Base(f))
		}
	}
	return files, nil
}

func exists(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}

// contents lists what a folder has instead.
func contents(folder string) string {
	const most = 8
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) == 0 {
		return "; the folder is empty"
	}
	var names []string
	for _, e := range entries[:min(most, len(entries))] {
		names = append(names, Sanitize(e.Name()))
	}
	s := "; the folder has " + strings.Join(names, ", ")
	if more := len(entries) - most; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}
