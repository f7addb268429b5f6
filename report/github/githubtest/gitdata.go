package githubtest

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

func unprocessable(message string) answer {
	return refuse(http.StatusUnprocessableEntity, message)
}

// empty is what GitHub says of a repository without a commit to everything
// about git's objects.
func (c *call) empty() (answer, bool) {
	if len(c.repo.refs) == 0 {
		return refuse(http.StatusConflict, "Git Repository is empty."), true
	}
	return answer{}, false
}

// git runs a handler of the git data API.
func git(serve func(*call) answer) func(*call) answer {
	return func(c *call) answer {
		if a, is := c.empty(); is {
			return a
		}
		return serve(c)
	}
}

func (c *call) createBlob() answer {
	var q struct{ Content, Encoding string }
	if err := c.decode(&q); err != nil {
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	data := []byte(q.Content)
	switch q.Encoding {
	case "", "utf-8":
	case "base64":
		var err error
		if data, err = decodeBase64(q.Content); err != nil {
			return unprocessable("content is not valid Base64")
		}
	default:
		return unprocessable("encoding must be either utf-8 or base64")
	}
	sha := c.repo.objects.put("blob", data)
	return created(obj{"sha": sha, "url": c.repoAPI("/git/blobs/%s", sha)})
}

// decodeBase64 passes over line breaks, as GitHub does.
func decodeBase64(s string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.NewReplacer("\n", "", "\r", "").Replace(s))
}

// encodeBase64 breaks lines as GitHub does.
func encodeBase64(data []byte) string {
	s := base64.StdEncoding.EncodeToString(data)
	var b strings.Builder
	for ; len(s) > 60; s = s[60:] {
		b.WriteString(s[:60] + "\n")
	}
	if s != "" {
		b.WriteString(s + "\n")
	}
	return b.String()
}

func (c *call) getBlob() answer {
	sha := c.path["file_sha"]
	if !c.repo.objects.is(sha, "blob") {
		return notFound()
	}
	data := c.repo.objects[sha].data
	if c.wantsRaw() {
		return rawFile(data)
	}
	return ok(obj{"sha": sha, "node_id": nodeID("B", sha), "url": c.repoAPI("/git/blobs/%s", sha), "size": len(data),
		"content": encodeBase64(data), "encoding": "base64"})
}

func (c *call) createTree() answer {
	var q struct {
		BaseTree string `json:"base_tree"`
		Tree     []struct {
			Path, Mode, Type string
			SHA              *string
			Content          *string
		}
	}
	if err := c.decode(&q); err != nil {
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	store := c.repo.objects
	files := map[string]treeEntry{}
	if base := q.BaseTree; base != "" {
		if at, isCommit := store.commit(base); isCommit {
			base = at.tree
		}
		if !store.is(base, "tree") {
			return unprocessable("base_tree is not a valid tree oid")
		}
		files = store.files(base)
	}
	for _, e := range q.Tree {
		if bad := badPath(e.Path); bad != "" {
			return unprocessable("tree.path " + bad)
		}
		// Whatever stood at the path, below it or above it, gives way.
		before := len(files)
		maps.DeleteFunc(files, func(p string, _ treeEntry) bool {
			return p == e.Path || strings.HasPrefix(p, e.Path+"/") || strings.HasPrefix(e.Path, p+"/")
		})
		switch {
		case e.Content != nil:
			files[e.Path] = treeEntry{mode: cmp.Or(e.Mode, modeFile), sha: store.put("blob", []byte(*e.Content))}
		case e.SHA == nil:
			if len(files) == before {
				return unprocessable("GitRPC::BadObjectState")
			}
		case e.Mode == modeDir:
			if !store.is(*e.SHA, "tree") {
				return unprocessable("tree.sha " + *e.SHA + " is not a valid tree")
			}
			for p, f := range store.files(*e.SHA) {
				files[e.Path+"/"+p] = f
			}
		case e.Mode != modeGitlink && !store.is(*e.SHA, "blob"):
			return unprocessable("tree.sha " + *e.SHA + " is not a valid blob")
		default:
			files[e.Path] = treeEntry{mode: cmp.Or(e.Mode, modeFile), sha: *e.SHA}
		}
	}
	return created(c.renderTree(store.build(files), false))
}

// badPath says what is wrong with a tree's path, "" for nothing.
func badPath(path string) string {
	for _, part := range strings.Split(path, "/") {
		switch part {
		case "", ".", "..", ".git":
			return fmt.Sprintf("contains a malformed path component: %q", part)
		}
	}
	return ""
}

func (c *call) getTree() answer {
	sha := c.path["tree_sha"]
	if at, isCommit := c.repo.objects.commit(cmp.Or(c.repo.resolve(sha), sha)); isCommit {
		sha = at.tree
	}
	if !c.repo.objects.is(sha, "tree") {
		return notFound()
	}
	// Any value asks for all levels, even "0".
	_, recursive := c.query["recursive"]
	return ok(c.renderTree(sha, recursive))
}

type person struct {
	Name, Email string
	Date        *time.Time
}

func (c *call) createCommit() answer {
	var q struct {
		Message, Tree     string
		Parents           []string
		Author, Committer *person
	}
	if err := c.decode(&q); err != nil {
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	if !c.repo.objects.is(q.Tree, "tree") {
		return unprocessable("Tree SHA does not exist")
	}
	for _, p := range q.Parents {
		if !c.repo.objects.is(p, "commit") {
			return unprocessable("Parent SHA does not exist or is not a commit object")
		}
	}
	by := c.actor().Login
	author := signature{by, by + "@users.noreply.github.com", c.s.now()}
	author = author.or(q.Author)
	sha := c.repo.objects.putCommit(commit{tree: q.Tree, parents: q.Parents, author: author, committer: author.or(q.Committer), message: q.Message})
	return created(c.renderGitCommit(sha))
}

// or is the signature that a request gives, completed by this one.
func (s signature) or(p *person) signature {
	if p == nil {
		return s
	}
	s.name, s.email = cmp.Or(p.Name, s.name), cmp.Or(p.Email, s.email)
	if p.Date != nil {
		s.when = *p.Date
	}
	return s
}

func (c *call) getGitCommit() answer {
	if !c.repo.objects.is(c.path["commit_sha"], "commit") {
		return notFound()
	}
	return ok(c.renderGitCommit(c.path["commit_sha"]))
}

var fullRef = regexp.MustCompile(`^refs/[^/]+/[^/]`)

func (c *call) createRef() answer {
	var q struct{ Ref, SHA string }
	if err := c.decode(&q); err != nil {
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	switch {
	case !fullRef.MatchString(q.Ref) || strings.Contains(q.Ref, "..") || strings.HasSuffix(q.Ref, ".lock") || strings.ContainsAny(q.Ref, " ~^:?*[\\"):
		return unprocessable("Reference name must start with 'refs/' and contain at least two slashes.")
	case c.repo.refs[q.Ref] != "":
		return unprocessable("Reference already exists")
	case !c.repo.objects.is(q.SHA, "commit"):
		return unprocessable("Object does not exist")
	case c.repo.shadowed(q.Ref):
		return unprocessable("Reference update failed")
	}
	c.repo.move(q.Ref, q.SHA)
	return created(c.renderRef(q.Ref))
}

// shadowed says whether git has no place for a ref beside the others: a/b beside a.
func (r *Repo) shadowed(ref string) bool {
	for other := range r.refs {
		if strings.HasPrefix(other, ref+"/") || strings.HasPrefix(ref, other+"/") {
			return true
		}
	}
	return false
}

func (c *call) updateRef() answer {
	var q struct {
		SHA   string
		Force bool
	}
	if err := c.decode(&q); err != nil {
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	ref := "refs/" + c.path["ref"]
	switch {
	case c.repo.refs[ref] == "":
		return unprocessable("Reference does not exist")
	case !c.repo.objects.is(q.SHA, "commit"):
		return unprocessable("Object does not exist")
	case !q.Force && !c.repo.objects.contains(q.SHA, c.repo.refs[ref]):
		return unprocessable("Update is not a fast forward")
	}
	c.repo.move(ref, q.SHA)
	return ok(c.renderRef(ref))
}

func (c *call) deleteRef() answer {
	ref := "refs/" + c.path["ref"]
	if c.repo.refs[ref] == "" {
		return unprocessable("Reference does not exist")
	}
	if ref == "refs/heads/"+c.repo.defaultBranch {
		return unprocessable("Cannot delete the default branch")
	}
	c.repo.move(ref, "")
	return answer{status: http.StatusNoContent}
}

func (c *call) getRef() answer {
	ref := "refs/" + c.path["ref"]
	if c.repo.refs[ref] == "" {
		return notFound()
	}
	return ok(c.renderRef(ref))
}

func (c *call) matchingRefs() answer {
	var found []string
	for _, ref := range slices.Sorted(maps.Keys(c.repo.refs)) {
		if strings.HasPrefix(ref, "refs/"+c.path["ref"]) {
			found = append(found, ref)
		}
	}
	return ok(each(found, c.renderRef))
}
