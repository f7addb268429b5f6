package action

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
)

// urlWithUser is an address that names a user or a token before the host.
var urlWithUser = regexp.MustCompile(`(?i)https?://[^/@\s]+@`)

// credentials refuses a checkout that holds a token where engines can read it:
// actions/checkout leaves one in the repository's configuration unless it is
// told not to. onHost is where engines can also read what lies outside the
// workspace. The error never shows a value.
func (g *git) credentials(ctx context.Context, onHost bool) error {
	files := []string{filepath.Join(g.dir, ".git", "config")}
	// Submodules have configurations of their own. What cannot be listed is not there.
	_ = filepath.WalkDir(filepath.Join(g.dir, ".git", "modules"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Name() == "config" && e.Type().IsRegular() {
			files = append(files, path)
		}
		return nil
	})
	for _, file := range files {
		out, err := g.run(ctx, 1<<20, "config", "--file", file, "--no-includes", "--list", "-z")
		if err != nil {
			continue // no repository
		}
		for entry := range strings.SplitSeq(string(out), "\x00") {
			name, value, _ := strings.Cut(entry, "\n")
			if holdsCredential(name, value, onHost) {
				rel, err := filepath.Rel(g.dir, file)
				if err != nil {
					rel = file
				}
				return fmt.Errorf("the checkout left credentials where engines can read them (%s, key %s): "+
					"give actions/checkout persist-credentials: false", rel, shownKey(name))
			}
		}
	}
	return nil
}

func holdsCredential(name, value string, onHost bool) bool {
	name = strings.ToLower(name)
	switch {
	case strings.HasPrefix(name, "http.") && strings.HasSuffix(name, "extraheader"):
		return strings.Contains(strings.ToLower(value), "authorization")
	case urlWithUser.MatchString(name), urlWithUser.MatchString(value):
		return true
	case onHost && strings.HasPrefix(name, "includeif."):
		return strings.HasPrefix(filepath.Base(value), "git-credentials-")
	case onHost && name == "core.sshcommand":
		return strings.Contains(value, " -i ")
	}
	return false
}

// shownKey is a key without the address in it, which may hold a token.
func shownKey(name string) string {
	section, _, _ := strings.Cut(name, ".")
	return section + ".…" + name[strings.LastIndexByte(name, '.'):]
}
