// Package lineage says which commits a change stands on: a baseline belongs to
// one of them.
package lineage

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Depth bounds how many ancestors are looked at.
const Depth = 2000

// Lineage is what a change stands on.
type Lineage struct {
	// MergeBase is the newest commit that the change and its base branch share;
	// the commit itself where there is no base.
	MergeBase string
	// Ancestors are the merge base and the commits before it: first those that
	// the branch itself was at, then those that were merged into it, each newest
	// first. At most Depth.
	Ancestors []Ancestor
	// Note says in a sentence what limited the search, "" where nothing did.
	Note string
}

// Ancestor is one commit that a baseline may belong to.
type Ancestor struct {
	Commit string
	// Distance is how many commits lie between it and the merge base: 0 is the
	// merge base.
	Distance int
	// Tree is the hash of its files: the same for a commit that was squashed or
	// rebased without a change. "" when it is not known.
	Tree string
	// Pulls are the pull requests that its message says it merged.
	Pulls []int
}

var merged = regexp.MustCompile(`(?:\(#|^Merge pull request #)([0-9]{1,12})(?:\)$| )`)

// PullsOf reads the pull requests that a commit merged off the first line of its
// message, as GitHub writes it: "Title (#12)" of a squash, "Merge pull request
// #12 from branch" of a merge.
func PullsOf(subject string) []int {
	var out []int
	for _, m := range merged.FindAllStringSubmatch(strings.TrimSpace(subject), -1) {
		if n, err := strconv.Atoi(m[1]); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// History reads the commits of a repository: a git checkout, or GitHub's API.
type History interface {
	// MergeBase is the newest common ancestor of two commits; "" without one.
	MergeBase(ctx context.Context, a, b string) (string, error)
	// Ancestors lists a commit and its ancestors as Lineage.Ancestors wants them.
	Ancestors(ctx context.Context, commit string, max int) ([]Ancestor, error)
}

// Of finds what head stands on. base is the commit or branch that it is to be
// merged into; "" for a commit of the branch itself, which stands on itself.
func Of(ctx context.Context, h History, base, head string) (*Lineage, error) {
	l := &Lineage{MergeBase: head}
	if base != "" {
		mb, err := h.MergeBase(ctx, base, head)
		if err != nil {
			return nil, fmt.Errorf("merge base of %s and %s: %w", short(base), short(head), err)
		}
		if mb == "" {
			return &Lineage{Note: fmt.Sprintf("%s and %s have no commit in common", short(base), short(head))}, nil
		}
		l.MergeBase = mb
	}
	var err error
	if l.Ancestors, err = h.Ancestors(ctx, l.MergeBase, Depth); err != nil {
		return nil, fmt.Errorf("history of %s: %w", short(l.MergeBase), err)
	}
	if len(l.Ancestors) == Depth {
		l.Note = fmt.Sprintf("only the newest %d commits were looked at", Depth)
	}
	return l, nil
}

var hash = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// short is a commit as people compare it; names of branches stay.
func short(commit string) string {
	if hash.MatchString(commit) {
		return commit[:12]
	}
	return commit
}
