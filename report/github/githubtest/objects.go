package githubtest

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An object is one of git's, as git hashes it: without its header.
type object struct {
	kind string // "blob", "tree" or "commit"
	data []byte
}

// An objectStore holds the objects of a repository and of all its forks, which
// share them on GitHub too.
type objectStore map[string]object

// put stores an object under git's own name for it.
func (o objectStore) put(kind string, data []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "%s %d\x00", kind, len(data))
	h.Write(data)
	sha := hex.EncodeToString(h.Sum(nil))
	if _, ok := o[sha]; !ok {
		o[sha] = object{kind, bytes.Clone(data)}
	}
	return sha
}

func (o objectStore) is(sha, kind string) bool {
	v, ok := o[sha]
	return ok && v.kind == kind
}

// A treeEntry is a line of a tree.
type treeEntry struct{ mode, name, sha string }

const (
	modeFile    = "100644"
	modeExec    = "100755"
	modeLink    = "120000"
	modeDir     = "040000"
	modeGitlink = "160000"
)

func (e treeEntry) kind() string {
	switch e.mode {
	case modeDir:
		return "tree"
	case modeGitlink:
		return "commit"
	}
	return "blob"
}

// tree reads a tree's entries; nil for what is no tree.
func (o objectStore) tree(sha string) []treeEntry {
	if !o.is(sha, "tree") {
		return nil
	}
	var entries []treeEntry
	for data := o[sha].data; len(data) > 0; {
		head, rest, ok := bytes.Cut(data, []byte{0})
		mode, name, ok2 := strings.Cut(string(head), " ")
		if !ok || !ok2 || len(rest) < sha1.Size {
			break
		}
		// Git writes a folder's mode without its leading zero, the API with it.
		entries = append(entries, treeEntry{fmt.Sprintf("%06s", mode), name, hex.EncodeToString(rest[:sha1.Size])})
		data = rest[sha1.Size:]
	}
	return entries
}

func (o objectStore) putTree(entries []treeEntry) string {
	key := func(e treeEntry) string {
		if e.mode == modeDir {
			return e.name + "/" // git sorts a folder as if its name ended so
		}
		return e.name
	}
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b treeEntry) int { return strings.Compare(key(a), key(b)) })
	var data []byte
	for _, e := range entries {
		raw, _ := hex.DecodeString(e.sha)
		data = append(data, strings.TrimPrefix(e.mode, "0")+" "+e.name+"\x00"...)
		data = append(data, raw...)
	}
	return o.put("tree", data)
}

// files lists what a tree holds, by path from its root: no folders.
func (o objectStore) files(tree string) map[string]treeEntry {
	all := map[string]treeEntry{}
	o.walk(tree, "", func(path string, e treeEntry) {
		if e.mode != modeDir {
			all[path] = e
		}
	})
	return all
}

// walk calls visit for every entry below a tree, folders before what they hold.
func (o objectStore) walk(tree, prefix string, visit func(path string, e treeEntry)) {
	for _, e := range o.tree(tree) {
		visit(prefix+e.name, e)
		if e.mode == modeDir {
			o.walk(e.sha, prefix+e.name+"/", visit)
		}
	}
}

// build stores the tree that holds these files, by path.
func (o objectStore) build(files map[string]treeEntry) string {
	here := map[string]treeEntry{}
	below := map[string]map[string]treeEntry{}
	for path, e := range files {
		dir, rest, deeper := strings.Cut(path, "/")
		if !deeper {
			here[path] = treeEntry{e.mode, path, e.sha}
			continue
		}
		if below[dir] == nil {
			below[dir] = map[string]treeEntry{}
		}
		below[dir][rest] = e
	}
	var entries []treeEntry
	for _, e := range here {
		entries = append(entries, e)
	}
	for dir, inside := range below {
		entries = append(entries, treeEntry{modeDir, dir, o.build(inside)})
	}
	return o.putTree(entries)
}

// find is the entry at a path below a tree; the tree itself at "".
func (o objectStore) find(tree, path string) (treeEntry, bool) {
	at := treeEntry{mode: modeDir, sha: tree}
	for _, name := range strings.FieldsFunc(path, func(r rune) bool { return r == '/' }) {
		entries := o.tree(at.sha)
		i := slices.IndexFunc(entries, func(e treeEntry) bool { return e.name == name })
		if i < 0 {
			return treeEntry{}, false
		}
		at = entries[i]
	}
	return at, true
}

// A signature says who and when.
type signature struct {
	name, email string
	when        time.Time
}

func (s signature) String() string {
	return fmt.Sprintf("%s <%s> %d %s", s.name, s.email, s.when.Unix(), s.when.Format("-0700"))
}

func parseSignature(line string) signature {
	name, rest, _ := strings.Cut(line, " <")
	email, rest, _ := strings.Cut(rest, "> ")
	seconds, zone, _ := strings.Cut(rest, " ")
	n, _ := strconv.ParseInt(seconds, 10, 64)
	when := time.Unix(n, 0).UTC()
	if z, err := time.Parse("-0700", zone); err == nil {
		_, offset := z.Zone()
		when = when.In(time.FixedZone("", offset))
	}
	return signature{name, email, when}
}

// A commit is what a commit object says.
type commit struct {
	sha, tree         string
	parents           []string
	author, committer signature
	message           string
}

func (o objectStore) putCommit(c commit) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "tree %s\n", c.tree)
	for _, p := range c.parents {
		fmt.Fprintf(&b, "parent %s\n", p)
	}
	fmt.Fprintf(&b, "author %s\ncommitter %s\n\n%s", c.author, c.committer, c.message)
	return o.put("commit", b.Bytes())
}

func (o objectStore) commit(sha string) (commit, bool) {
	if !o.is(sha, "commit") {
		return commit{}, false
	}
	head, message, _ := strings.Cut(string(o[sha].data), "\n\n")
	c := commit{sha: sha, message: message}
	for line := range strings.Lines(head) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch key {
		case "tree":
			c.tree = value
		case "parent":
			c.parents = append(c.parents, value)
		case "author":
			c.author = parseSignature(value)
		case "committer":
			c.committer = parseSignature(value)
		}
	}
	return c, true
}

// history is a commit and all that it descends from, newest first, a child
// always before its parents. Where history ends early, as in a shallow clone,
// so does this.
func (o objectStore) history(sha string) []commit {
	reach := map[string]commit{}
	children := map[string]int{}
	for todo := []string{sha}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		c, ok := o.commit(at)
		if _, seen := reach[at]; seen || !ok {
			continue
		}
		reach[at] = c
		for _, p := range c.parents {
			children[p]++
			todo = append(todo, p)
		}
	}
	var list, ready []commit
	if c, ok := reach[sha]; ok {
		ready = append(ready, c)
	}
	for len(ready) > 0 {
		i := 0
		for j, c := range ready {
			if c.committer.when.After(ready[i].committer.when) {
				i = j
			}
		}
		c := ready[i]
		ready = slices.Delete(ready, i, i+1)
		list = append(list, c)
		for _, p := range c.parents {
			if children[p]--; children[p] == 0 {
				if pc, ok := reach[p]; ok {
					ready = append(ready, pc)
				}
			}
		}
	}
	return list
}

// contains says whether ancestor is sha or one of those it descends from.
func (o objectStore) contains(sha, ancestor string) bool {
	return slices.ContainsFunc(o.history(sha), func(c commit) bool { return c.sha == ancestor })
}

// mergeBase is the newest commit that both descend from, "" for none.
func (o objectStore) mergeBase(a, b string) string {
	of := map[string]bool{}
	for _, c := range o.history(a) {
		of[c.sha] = true
	}
	for _, c := range o.history(b) {
		if of[c.sha] {
			return c.sha
		}
	}
	return ""
}
