package action

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// commandFolder is a runner's folder with its files and one of another step.
func commandFolder(t *testing.T) (dir string, getenv func(string) string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "_runner_file_commands")
	mkdir(t, dir)
	var pairs []string
	for _, v := range commandVariables {
		path := filepath.Join(dir, strings.ToLower(v))
		if v == "GITHUB_EVENT_PATH" {
			path = filepath.Join(t.TempDir(), "event.json")
		}
		store(t, path, []byte("before "+v+"\n"))
		pairs = append(pairs, v, path)
	}
	store(t, filepath.Join(dir, "set_env_of_the_action"), nil)
	return dir, env(pairs...)
}

func TestCommandFilesAreRestored(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, dir string, getenv func(string) string)
		want  []string
	}{
		{"nothing", func(*testing.T, string, func(string) string) {}, nil},
		{"written to", func(t *testing.T, _ string, getenv func(string) string) {
			store(t, getenv("GITHUB_ENV"), []byte("LD_PRELOAD=/evil.so\n"))
			store(t, getenv("GITHUB_OUTPUT"), []byte("exit-code=0\n"))
		}, []string{"github_env", "github_output"}},
		{"another step's", func(t *testing.T, dir string, _ func(string) string) {
			store(t, filepath.Join(dir, "set_env_of_the_action"), []byte("PATH=/evil\n"))
		}, []string{"set_env_of_the_action"}},
		{"the event", func(t *testing.T, _ string, getenv func(string) string) {
			store(t, getenv("GITHUB_EVENT_PATH"), []byte("{}"))
		}, []string{"event.json"}},
		{"a new file", func(t *testing.T, dir string, _ func(string) string) {
			store(t, filepath.Join(dir, "add_path_x"), []byte("/evil\n"))
			mkdir(t, filepath.Join(dir, "folder", "in"))
		}, []string{"add_path_x (new)", "folder (new)"}},
		{"a link in a file's place", func(t *testing.T, dir string, getenv func(string) string) {
			victim := filepath.Join(filepath.Dir(dir), "victim")
			store(t, victim, []byte("untouched"))
			if err := os.Remove(getenv("GITHUB_PATH")); err != nil {
				t.Fatal(err)
			}
			link(t, victim, getenv("GITHUB_PATH"))
		}, []string{"github_path"}},
		{"a folder in a file's place", func(t *testing.T, _ string, getenv func(string) string) {
			if err := os.Remove(getenv("GITHUB_STATE")); err != nil {
				t.Fatal(err)
			}
			mkdir(t, filepath.Join(getenv("GITHUB_STATE"), "in"))
		}, []string{"github_state"}},
		{"removed", func(t *testing.T, dir string, _ func(string) string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}, []string{"github_env", "github_output", "github_path", "github_state", "github_step_summary", "set_env_of_the_action"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, getenv := commandFolder(t)
			c, err := saveCommandFiles(getenv)
			if err != nil {
				t.Fatal(err)
			}
			tt.spoil(t, dir, getenv)
			changed, err := c.restore()
			if err != nil || !slices.Equal(changed, tt.want) {
				t.Errorf("changed %q, error %v; want %q", changed, err, tt.want)
			}
			for _, v := range commandVariables {
				info, err := os.Lstat(getenv(v))
				if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o600 {
					t.Errorf("%s is %v, %v", v, info, err)
				}
				if b, err := os.ReadFile(getenv(v)); err != nil || string(b) != "before "+v+"\n" {
					t.Errorf("%s holds %q, %v", v, b, err)
				}
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != len(commandVariables) {
				t.Errorf("%v %v", entries, err)
			}
			if b, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "victim")); err == nil && string(b) != "untouched" {
				t.Errorf("the link was followed: %q", b)
			}
		})
	}
}

// Files beside a runner's file in a folder that is not the runner's are nobody's
// business.
func TestCommandFilesElsewhere(t *testing.T) {
	dir := t.TempDir()
	store(t, filepath.Join(dir, "output"), []byte("a"))
	c, err := saveCommandFiles(env("GITHUB_OUTPUT", filepath.Join(dir, "output"), "GITHUB_ENV", filepath.Join(dir, "missing")))
	if err != nil {
		t.Fatal(err)
	}
	store(t, filepath.Join(dir, "other"), []byte("b"))
	if changed, err := c.restore(); err != nil || len(changed) > 0 {
		t.Errorf("changed %q, error %v", changed, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "other")); err != nil {
		t.Error(err)
	}
}
