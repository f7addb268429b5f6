package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// actionsBot is who writes with the token that Actions gives to a job.
const actionsBot = "github-actions[bot]"

// author is the login that this client's comments are written as: the
// settings', else the token's user, else that of Actions, whose token has none
// and is told so with 403. It is asked once.
func (c *Client) author(ctx context.Context) (string, error) {
	if c.s.Author != "" {
		return c.s.Author, nil
	}
	c.loginMu.Lock()
	defer c.loginMu.Unlock()
	if c.login != "" {
		return c.login, nil
	}
	user, _, err := c.api.Users.Get(ctx, "")
	switch {
	case err == nil && user.GetLogin() == "":
		return "", errors.New("GitHub does not say whose the token is")
	case err == nil:
		c.login = user.GetLogin()
	case statusOf(err) == http.StatusForbidden && strings.Contains(err.Error(), "not accessible by integration"):
		c.login = actionsBot
	default:
		return "", fmt.Errorf("whose the token is: %w", err)
	}
	return c.login, nil
}
