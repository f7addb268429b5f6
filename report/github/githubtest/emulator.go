package githubtest

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var (
	//go:embed testdata/emulate/install.sh
	emulateInstall []byte
	//go:embed testdata/emulate/serve.mjs
	emulateServe []byte
)

// An Emulator is somebody else's fake of GitHub's API, in a process of its own:
// https://github.com/vercel-labs/emulate. What passes against both was not fitted
// to the mistakes of one.
//
// Of testdata/keep.json it has everything but commit statuses (POST
// statuses/{sha}, commits/{ref}/statuses, commits/{ref}/status) and
// commits/{sha}/pulls. Of a pull request it knows the comments and labels, but
// neither its files (the list is empty) nor that it is an issue too. It does not
// tell an app's token from a user's, does not know GitHub's limits on the length
// of texts, and has no faults. TestBothBackends says where else it answers
// otherwise than GitHub does.
type Emulator struct {
	URL         string // of the API, without a slash at the end
	Token       string // of the user Owner, who may do everything
	Owner, Repo string
	PullRequest int // one that is open, from the branch "feature" to "main"
	Head, Base  string
}

// StartEmulator installs the emulator if it is not there, starts it with one
// repository and one pull request, and ends it with the test.
func StartEmulator(t testing.TB) *Emulator {
	t.Helper()
	e := &Emulator{Token: "emulator-token", Owner: "acme", Repo: "engine"}
	var said bytes.Buffer
	install := exec.Command("bash", "-s")
	install.Stdin, install.Stderr = bytes.NewReader(emulateInstall), &said
	folder, err := install.Output()
	if err != nil {
		t.Fatalf("installing the emulator: %v: %s", err, &said)
	}
	dir := strings.TrimSpace(string(folder))
	// The program stands on the command line, since standard input is for its end.
	node := exec.Command(dir+"/node", "--input-type=module", "--eval", string(emulateServe), "--", dir, e.Owner, e.Repo, e.Token)
	stdin, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	node.Stderr = &said
	node.WaitDelay = time.Second
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	line, err := lines.ReadString('\n')
	t.Cleanup(func() {
		_ = stdin.Close()
		_, _ = io.Copy(io.Discard, lines)
		_ = node.Wait() // it was told to end; how it does is no matter
	})
	if err != nil {
		_ = stdin.Close()
		_ = node.Wait()
		t.Fatalf("starting the emulator: %v: %s", err, &said)
	}
	e.URL = strings.Replace(strings.TrimSpace(line), "localhost", "127.0.0.1", 1)
	if err := e.seed(); err != nil {
		t.Fatalf("seeding the emulator: %v", err)
	}
	return e
}

// seed commits to main and to a branch, and opens a pull request.
func (e *Emulator) seed() error {
	var ref struct{ Object struct{ SHA string } }
	if err := e.do(http.MethodGet, "/git/ref/heads/main", nil, &ref); err != nil {
		return err
	}
	var err error
	if e.Base, err = e.commit(ref.Object.SHA, "Begin", "parity.yaml", "prompts: []\n"); err != nil {
		return err
	}
	if err := e.do(http.MethodPatch, "/git/refs/heads/main", obj{"sha": e.Base}, nil); err != nil {
		return err
	}
	if e.Head, err = e.commit(e.Base, "Change something", "change.txt", "feature\n"); err != nil {
		return err
	}
	if err := e.do(http.MethodPost, "/git/refs", obj{"ref": "refs/heads/feature", "sha": e.Head}, nil); err != nil {
		return err
	}
	var pull struct{ Number int }
	if err := e.do(http.MethodPost, "/pulls", obj{"title": "A change", "head": "feature", "base": "main"}, &pull); err != nil {
		return err
	}
	e.PullRequest = pull.Number
	return nil
}

func (e *Emulator) commit(parent, message, path, content string) (string, error) {
	var before struct{ Tree struct{ SHA string } }
	if err := e.do(http.MethodGet, "/git/commits/"+parent, nil, &before); err != nil {
		return "", err
	}
	var made struct{ SHA string }
	entry := obj{"path": path, "mode": modeFile, "type": "blob", "content": content}
	if err := e.do(http.MethodPost, "/git/trees", obj{"base_tree": before.Tree.SHA, "tree": []obj{entry}}, &made); err != nil {
		return "", err
	}
	err := e.do(http.MethodPost, "/git/commits", obj{"message": message, "tree": made.SHA, "parents": []string{parent}}, &made)
	return made.SHA, err
}

// do asks the emulator about its repository.
func (e *Emulator) do(method, path string, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	q, err := http.NewRequest(method, e.URL+"/repos/"+e.Owner+"/"+e.Repo+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	q.Header.Set("Authorization", "Bearer "+e.Token)
	q.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, got)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(got, into)
}
