// Package githubtest is a fake of GitHub's REST API for tests. It keeps state,
// as GitHub does, and holds every request and every response to GitHub's own
// description of its API: what breaks it fails the test.
//
//	s := githubtest.New(t)
//	repo := s.AddRepo("acme/engine")
//	repo.Commit("main", "Begin", map[string]string{"parity.yaml": spec})
//	pr := repo.AddPullRequest(githubtest.PullRequest{}) // a branch and a commit of its own
//
//	publish(s.URL(), githubtest.ActionsToken) // the code under test
//
//	if got := repo.Comments(pr.Number); len(got) != 1 { … }
//
// Git objects are real: commits have the names that git gives them, a branch
// moves as git would let it, and pull requests list what their branches differ
// in. Repo.ImportGit takes over a repository from disk.
//
// Tokens are a workflow's (ActionsToken), a fork's, which may only read
// (ForkToken), a user's (UserToken), and those that AddToken makes.
//
// Faults go wrong with the next requests (Inject, InjectWhen) or with those that
// a function picks (Choose):
//
//	s.Inject(githubtest.SecondaryLimit(time.Minute), githubtest.CutAfter())
//	s.Choose(githubtest.Random(seed, 0.3, 4, githubtest.Faults()...))
//
// Requests, Count, Writes and Tried tell what was sent. Below /api/v3 the same
// answers as an Enterprise server; Standalone is for a program that serves it.
package githubtest
