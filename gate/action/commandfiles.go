package action

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// commandFiles are the files by which a step speaks to the runner, as they were
// before engines ran. An engine on the host can write to them, since it is the
// same user: a line in GITHUB_ENV would change every later step.
type commandFiles struct {
	folders []string
	files   map[string]savedFile
}

type savedFile struct {
	data []byte
	mode os.FileMode
}

// commandVariables name the files.
var commandVariables = []string{"GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY", "GITHUB_STATE", "GITHUB_EVENT_PATH"}

// commandFolders are the names of the folders that hold such files and nothing
// else: of GitHub's runner and of act. Only in them a new file is removed.
var commandFolders = []string{"_runner_file_commands", "workflow"}

// maxCommandFile bounds a file that is saved. Larger ones are not GitHub's.
const maxCommandFile = 32 << 20

// saveCommandFiles reads the step's files and all others in the same folders:
// those of the composite action around this step lie there, too.
func saveCommandFiles(getenv func(string) string) (*commandFiles, error) {
	c := &commandFiles{files: map[string]savedFile{}}
	for _, v := range commandVariables {
		path := getenv(v)
		if path == "" {
			continue
		}
		if err := c.save(path); err != nil {
			return nil, fmt.Errorf("%s: %w", v, err)
		}
		dir := filepath.Dir(path)
		if slices.Contains(c.folders, dir) || !slices.Contains(commandFolders, filepath.Base(dir)) || v == "GITHUB_EVENT_PATH" {
			continue
		}
		c.folders = append(c.folders, dir)
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v, err)
		}
		for _, e := range entries {
			if e.Type().IsRegular() {
				if err := c.save(filepath.Join(dir, e.Name())); err != nil {
					return nil, err
				}
			}
		}
	}
	return c, nil
}

func (c *commandFiles) save(path string) error {
	if _, ok := c.files[path]; ok {
		return nil
	}
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // this runner makes no such file; one that appears is removed
	}
	if err != nil {
		return err
	}
	data, err := readRegular(filepath.Dir(path), filepath.Base(path), maxCommandFile)
	if err != nil {
		return err
	}
	c.files[path] = savedFile{data, info.Mode().Perm()}
	return nil
}

// restore puts everything back as it was and names what was changed. The files
// are replaced, not written to: what stands in their place may be a link to
// something else.
func (c *commandFiles) restore() (changed []string, err error) {
	var errs []error
	for path, saved := range c.files {
		now, e := readRegular(filepath.Dir(path), filepath.Base(path), maxCommandFile)
		if e == nil && bytes.Equal(now, saved.data) {
			continue
		}
		changed = append(changed, filepath.Base(path))
		if info, e := os.Lstat(path); e == nil && info.IsDir() {
			errs = append(errs, os.RemoveAll(path))
		}
		if e := os.MkdirAll(filepath.Dir(path), 0o755); e != nil {
			errs = append(errs, e)
		}
		errs = append(errs, writeAside(path, saved.data, saved.mode))
	}
	for _, dir := range c.folders {
		entries, e := os.ReadDir(dir)
		errs = append(errs, e)
		for _, entry := range entries {
			path := filepath.Join(dir, entry.Name())
			if _, ok := c.files[path]; !ok {
				changed = append(changed, entry.Name()+" (new)")
				errs = append(errs, os.RemoveAll(path))
			}
		}
	}
	slices.Sort(changed)
	return changed, errors.Join(errs...)
}
