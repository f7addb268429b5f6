package githubtest

import (
	"net/http"
	"strings"
)

// A handler serves one operation of the description.
type handler struct {
	scope string // that a token needs
	serve func(*call) answer
}

// handlers has every operation of the description, by its id.
var handlers = map[string]handler{
	"users/get-authenticated": {"metadata", (*call).getUser},
	"rate-limit/get":          {"metadata", (*call).getRateLimit},
	"repos/get":               {"metadata", (*call).getRepo},
	"repos/get-collaborator-permission-level":         {"metadata", (*call).getPermission},
	"actions/get-workflow-run":                        {"actions", (*call).getRun},
	"actions/list-workflow-run-artifacts":             {"actions", (*call).listArtifacts},
	"checks/create":                                   {"checks", (*call).createCheckRun},
	"checks/get":                                      {"checks", (*call).getCheckRun},
	"checks/update":                                   {"checks", (*call).updateCheckRun},
	"checks/list-for-ref":                             {"checks", (*call).listCheckRuns},
	"repos/create-commit-status":                      {"statuses", (*call).createStatus},
	"repos/list-commit-statuses-for-ref":              {"statuses", (*call).listStatuses},
	"repos/get-combined-status-for-ref":               {"statuses", (*call).combinedStatus},
	"repos/get-content":                               {"contents", (*call).getContents},
	"repos/list-commits":                              {"contents", (*call).listCommits},
	"repos/get-commit":                                {"contents", (*call).getCommit},
	"repos/compare-commits-with-basehead":             {"contents", (*call).compare},
	"repos/list-pull-requests-associated-with-commit": {"pull_requests", (*call).pullsOfCommit},
	"git/create-blob":                                 {"contents", git((*call).createBlob)},
	"git/get-blob":                                    {"contents", git((*call).getBlob)},
	"git/create-tree":                                 {"contents", git((*call).createTree)},
	"git/get-tree":                                    {"contents", git((*call).getTree)},
	"git/create-commit":                               {"contents", git((*call).createCommit)},
	"git/get-commit":                                  {"contents", git((*call).getGitCommit)},
	"git/create-ref":                                  {"contents", git((*call).createRef)},
	"git/update-ref":                                  {"contents", git((*call).updateRef)},
	"git/delete-ref":                                  {"contents", git((*call).deleteRef)},
	"git/get-ref":                                     {"contents", git((*call).getRef)},
	"git/list-matching-refs":                          {"contents", git((*call).matchingRefs)},
	"issues/list-for-repo":                            {"issues", (*call).listIssues},
	"issues/create":                                   {"issues", (*call).createIssue},
	"issues/get":                                      {"issues", (*call).getIssue},
	"issues/update":                                   {"issues", (*call).updateIssue},
	"issues/list-comments":                            {"issues", (*call).listComments},
	"issues/create-comment":                           {"issues", (*call).createComment},
	"issues/get-comment":                              {"issues", (*call).getComment},
	"issues/update-comment":                           {"issues", (*call).updateComment},
	"issues/delete-comment":                           {"issues", (*call).deleteComment},
	"issues/list-events":                              {"issues", (*call).listEvents},
	"issues/list-labels-on-issue":                     {"issues", (*call).listLabels},
	"issues/add-labels":                               {"issues", (*call).addLabels},
	"issues/remove-label":                             {"issues", (*call).deleteLabel},
	"pulls/list":                                      {"pull_requests", (*call).listPulls},
	"pulls/get":                                       {"pull_requests", (*call).getPull},
	"pulls/list-files":                                {"pull_requests", (*call).listPullFiles},
}

func (c *call) getUser() answer {
	switch {
	case c.token == nil:
		return refuse(http.StatusUnauthorized, "Requires authentication")
	case c.token.Installation:
		return refuse(http.StatusForbidden, "Resource not accessible by integration")
	}
	v := c.renderUser(c.token.Login)
	made := stamp(c.s.reset.AddDate(-1, 0, 0))
	for k, x := range (obj{"name": nil, "company": nil, "blog": nil, "location": nil, "email": nil, "hireable": nil, "bio": nil,
		"public_repos": 0, "public_gists": 0, "followers": 0, "following": 0, "created_at": made, "updated_at": made}) {
		v[k] = x
	}
	return ok(v)
}

func (c *call) getRateLimit() answer {
	used := c.s.used[tokenOf(c.r)]
	rate := obj{"limit": c.s.quota, "remaining": max(0, c.s.quota-used), "used": used, "reset": c.s.reset.Unix()}
	return ok(obj{"rate": rate, "resources": obj{"core": rate, "search": rate}})
}

func (c *call) getRepo() answer { return ok(c.renderRepo(c.repo)) }

func (c *call) getPermission() answer {
	login := c.path["username"]
	if _, known := c.s.users[strings.ToLower(login)]; !known {
		return refuse(http.StatusNotFound, login+" is not a user")
	}
	permission := c.repo.permissions[strings.ToLower(login)]
	if permission == "" {
		permission = "none"
		if !c.repo.private {
			permission = "read"
		}
	}
	user := c.renderUser(login)
	user["role_name"] = permission
	user["permissions"] = obj{"pull": permission != "none", "triage": permission == "admin" || permission == "write",
		"push": permission == "admin" || permission == "write", "maintain": permission == "admin", "admin": permission == "admin"}
	return ok(obj{"permission": permission, "role_name": permission, "user": user})
}
