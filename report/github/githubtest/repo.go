package githubtest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A User is somebody with an account.
type User struct {
	Login string
	Type  string // "User", "Bot" or "Organization"
	ID    int64  // given by the server
}

// A Repo is one repository of the fake: seed it and read it through its methods.
type Repo struct {
	s             *Server
	id            int64
	owner, name   string
	private       bool
	parent        *Repo // what it is a fork of
	defaultBranch string
	made          time.Time
	objects       objectStore
	refs          map[string]string // "refs/heads/main" to a commit
	issues        []*issue          // pull requests among them, by number
	comments      []*Comment        // by id
	statuses      []Status          // oldest first
	checks        []*CheckRun       // oldest first
	runs          []*Run
	labels        map[string]Label // by name, in lower case
	permissions   map[string]string
}

// A RepoOption of AddRepo.
type RepoOption func(*Repo)

// Private hides the repository from tokens that are not for it.
func Private() RepoOption { return func(r *Repo) { r.private = true } }

// ForkOf makes the repository a fork: it starts with the same branches, and the
// two share their objects.
func ForkOf(parent *Repo) RepoOption { return func(r *Repo) { r.parent = parent } }

// DefaultBranch names it; "main" otherwise.
func DefaultBranch(name string) RepoOption { return func(r *Repo) { r.defaultBranch = name } }

// AddRepo makes a repository, "owner/name", without a commit.
func (s *Server) AddRepo(full string, options ...RepoOption) *Repo {
	s.mu.Lock()
	defer s.mu.Unlock()
	owner, name, _ := strings.Cut(full, "/")
	r := &Repo{s: s, id: s.id(), owner: owner, name: name, defaultBranch: "main", made: s.now(),
		objects: objectStore{}, refs: map[string]string{}, labels: map[string]Label{}, permissions: map[string]string{}}
	for _, o := range options {
		o(r)
	}
	if r.parent != nil {
		r.objects, r.defaultBranch = r.parent.objects, r.parent.defaultBranch
		for ref, sha := range r.parent.refs {
			if strings.HasPrefix(ref, "refs/heads/") {
				r.refs[ref] = sha
			}
		}
	}
	s.user(User{Login: owner, Type: "User"})
	r.permissions[strings.ToLower(owner)] = "admin"
	s.repos[strings.ToLower(full)] = r
	return r
}

// AddUser makes a user known, who otherwise is by the first comment.
func (s *Server) AddUser(u User) User {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.user(u)
}

// AddToken adds a token, or replaces one.
func (s *Server) AddToken(token string, t Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = t
	s.user(User{Login: t.Login, Type: t.Type})
}

// user is the account of a login, made when there is none.
func (s *Server) user(u User) User {
	key := strings.ToLower(u.Login)
	if known, ok := s.users[key]; ok {
		return known
	}
	if u.Type == "" {
		u.Type = "User"
		if strings.HasSuffix(key, "[bot]") {
			u.Type = "Bot"
		}
	}
	if u.ID == 0 {
		u.ID = s.id()
	}
	s.users[key] = u
	return u
}

func (s *Server) id() int64 { s.lastID++; return s.lastID }

// lock takes the server's state; use it as defer r.lock()().
func (r *Repo) lock() func() { r.s.mu.Lock(); return r.s.mu.Unlock }

func (r *Repo) full() string { return r.owner + "/" + r.name }

// Name is "owner/name".
func (r *Repo) Name() string { return r.full() }

// SetPermission says what a user may do: "admin", "write", "read" or "none".
func (r *Repo) SetPermission(login, permission string) {
	defer r.lock()()
	r.s.user(User{Login: login})
	r.permissions[strings.ToLower(login)] = permission
}

// A Change is a commit to be made.
type Change struct {
	Branch  string            // moved to the commit, and made if there is none; "" moves none
	Parents []string          // default: the branch's commit, else the default branch's, else none
	Files   map[string]string // content by path, over the first parent's
	Delete  []string
	Message string
	Author  string // a login; default "octocat"
	Date    time.Time
}

// Commit commits files to a branch, as a push does, and returns the commit.
func (r *Repo) Commit(branch, message string, files map[string]string) string {
	return r.Push(Change{Branch: branch, Message: message, Files: files})
}

// Push makes a commit and returns it.
func (r *Repo) Push(c Change) string {
	defer r.lock()()
	return r.push(c)
}

func (r *Repo) push(c Change) string {
	ref := "refs/heads/" + c.Branch
	if c.Parents == nil {
		if sha := cmp.Or(r.refs[ref], r.refs["refs/heads/"+r.defaultBranch]); sha != "" {
			c.Parents = []string{sha}
		}
	}
	files := map[string]treeEntry{}
	if len(c.Parents) > 0 {
		parent, ok := r.objects.commit(c.Parents[0])
		if !ok {
			r.s.errorf("githubtest: %s has no commit %s to be a parent", r.full(), c.Parents[0])
			return ""
		}
		files = r.objects.files(parent.tree)
	}
	for path, content := range c.Files {
		files[path] = treeEntry{mode: modeFile, sha: r.objects.put("blob", []byte(content))}
	}
	for _, path := range c.Delete {
		delete(files, path)
	}
	if c.Date.IsZero() {
		c.Date = r.s.now()
	}
	login := cmp.Or(c.Author, "octocat")
	r.s.user(User{Login: login})
	by := signature{login, login + "@users.noreply.github.com", c.Date}
	sha := r.objects.putCommit(commit{tree: r.objects.build(files), parents: c.Parents, author: by, committer: by, message: c.Message})
	if c.Branch != "" {
		r.move(ref, sha)
	}
	return sha
}

// move sets a ref, and with a branch the pull requests that are made of it.
func (r *Repo) move(ref, sha string) {
	if sha == "" {
		delete(r.refs, ref)
		return
	}
	r.refs[ref] = sha
	branch, isBranch := strings.CutPrefix(ref, "refs/heads/")
	if !isBranch {
		return
	}
	for _, base := range r.s.repos {
		for _, i := range base.issues {
			if p := i.pull; p != nil && i.State == "open" && p.HeadRef == branch && strings.EqualFold(p.HeadRepo, r.full()) {
				p.HeadSHA = sha
				base.refs[fmt.Sprintf("refs/pull/%d/head", p.Number)] = sha
			}
		}
	}
}

// SetRef sets a ref, "heads/main" or "tags/v1", to a commit, as a forced push
// does; "" deletes it.
func (r *Repo) SetRef(ref, sha string) {
	defer r.lock()()
	if sha != "" && !r.objects.is(sha, "commit") {
		r.s.errorf("githubtest: %s has no commit %q for %s", r.full(), sha, ref)
		return
	}
	r.move("refs/"+ref, sha)
}

// Ref is a ref's commit, "" when there is no such ref. It is named as "heads/main".
func (r *Repo) Ref(ref string) string {
	defer r.lock()()
	return r.refs["refs/"+ref]
}

// Refs lists all refs, "refs/heads/main" to a commit.
func (r *Repo) Refs() map[string]string {
	defer r.lock()()
	return maps.Clone(r.refs)
}

// File is a file's content at a ref, branch, tag or commit.
func (r *Repo) File(ref, path string) (string, bool) {
	defer r.lock()()
	c, ok := r.objects.commit(r.resolve(ref))
	if !ok {
		return "", false
	}
	e, ok := r.objects.find(c.tree, path)
	if !ok || e.kind() != "blob" {
		return "", false
	}
	return string(r.objects[e.sha].data), true
}

// Log lists the commits of a ref, branch, tag or commit, newest first.
func (r *Repo) Log(ref string) []string {
	defer r.lock()()
	var list []string
	for _, c := range r.objects.history(r.resolve(ref)) {
		list = append(list, c.sha)
	}
	return list
}

// Message is what a commit says of itself.
func (r *Repo) Message(sha string) string {
	defer r.lock()()
	c, _ := r.objects.commit(sha)
	return c.message
}

// resolve is the commit that a name means, "" for none.
func (r *Repo) resolve(name string) string {
	if name == "" {
		name = r.defaultBranch
	}
	for _, ref := range []string{name, "refs/" + name, "refs/heads/" + name, "refs/tags/" + name} {
		if sha, ok := r.refs[ref]; ok {
			return sha
		}
	}
	if r.objects.is(name, "commit") {
		return name
	}
	if len(name) >= 7 && len(name) < 40 {
		for _, sha := range slices.Sorted(maps.Keys(r.objects)) {
			if strings.HasPrefix(sha, name) && r.objects.is(sha, "commit") {
				return sha
			}
		}
	}
	return ""
}
