// Pictures draws comments as GitHub would: GitHub's Markdown, its style sheet
// and a real browser. It also says how far down the reader must look for what
// decides, and fails when that is not on the first screen.
//
//	go run ./testdata/pictures -css github-markdown-light.css -out docs/images -head COMMIT fail=out/results.json
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
	"github.com/paritygate/paritygate/report/github"
)

const (
	// width is that of a conversation on GitHub, firstScreen what a laptop shows
	// of it below GitHub's own header.
	width       = 920
	firstScreen = 900
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

func run() error {
	css := flag.String("css", "", "github-markdown-light.css")
	out := flag.String("out", "", "folder for the pictures")
	browser := flag.String("browser", "chromium", "Chromium or Chrome")
	source := gate.Source{Event: "pull_request", PullRequest: 1, RunID: 1, RunAttempt: 1}
	flag.StringVar(&source.Repository, "repository", "acme/engine", "the repository, as OWNER/NAME")
	flag.StringVar(&source.Head, "head", "", "the commit that was measured")
	flag.Parse()
	style, err := os.ReadFile(*css)
	if err != nil {
		return err
	}
	if flag.NArg() == 0 {
		return errors.New("want NAME=RESULTS.json")
	}
	var errs []error
	for _, arg := range flag.Args() {
		name, file, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q: want NAME=RESULTS.json", arg)
		}
		if err := draw(*browser, string(style), *out, name, file, source); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// draw makes one picture and checks its first screen.
func draw(browser, style, out, name, file string, source gate.Source) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := report.Read(f)
	if err != nil {
		return err
	}
	r.Source = &source // as the Action sets it
	dir, err := os.MkdirTemp("", "pictures-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	page := filepath.Join(dir, "page.html")
	if err := write(page, style, r); err != nil {
		return err
	}
	dom, err := chromium(browser, dir, "--dump-dom", "file://"+page)
	if err != nil {
		return err
	}
	seen, err := measured(dom)
	if err != nil {
		return err
	}
	picture, err := filepath.Abs(filepath.Join(out, name+".png"))
	if err != nil {
		return err
	}
	if _, err := chromium(browser, dir, fmt.Sprintf("--window-size=%d,%d", width, seen.Height), "--force-device-scale-factor=1.25",
		"--screenshot="+picture, "file://"+page); err != nil {
		return err
	}
	if err := shrink(picture); err != nil {
		return err
	}
	fmt.Printf("%s: %d px high; verdict at %d, first divergence %d, table %d to %d, what to do %d\n",
		name, seen.Height, seen.Verdict, seen.First, seen.Table, seen.Row, seen.Todo)
	return seen.decides(r.Outcome)
}

// positions are distances from the top in pixels, −1 for what is not there.
type positions struct{ Height, Verdict, First, Table, Row, Todo int }

// decides says what a reader must scroll for.
func (p positions) decides(o gate.Outcome) error {
	need := map[string]int{"the verdict": p.Verdict}
	if o == gate.Fail {
		need["the first divergence"], need["the table's first three rows"], need["what to do"] = p.First, p.Row, p.Todo
	}
	for what, y := range need {
		if y < 0 || y > firstScreen {
			return fmt.Errorf("%s is not on the first screen of %d px: it is at %d", what, firstScreen, y)
		}
	}
	return nil
}

var found = regexp.MustCompile(`data-positions="([^"]*)"`)

func measured(dom []byte) (p positions, err error) {
	m := found.FindSubmatch(dom)
	if m == nil {
		return p, errors.New("the browser did not run the page's script")
	}
	return p, json.Unmarshal([]byte(strings.ReplaceAll(string(m[1]), "&quot;", `"`)), &p)
}

// chromium runs the browser without a window and without a network.
func chromium(browser, dir string, args ...string) ([]byte, error) {
	cmd := exec.Command(browser, append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--hide-scrollbars", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--virtual-time-budget=2000", fmt.Sprintf("--window-size=%d,%d", width, firstScreen), "--user-data-dir=" + filepath.Join(dir, "profile")}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", browser, err, stderr.String())
	}
	return stdout.Bytes(), nil
}

// write puts the comment of r on a page that looks like a conversation.
func write(page, style string, r *gate.Result) error {
	var md, body bytes.Buffer
	owner, name, _ := strings.Cut(r.Source.Repository, "/")
	event := &github.Event{Owner: owner, Repo: name, Head: r.Source.Head, ServerURL: "https://github.com"}
	o := github.MarkdownOptions(event, github.Settings{SpecPath: r.Spec.Path}, r)
	if err := report.Markdown(&md, r, o); err != nil {
		return err
	}
	// Raw HTML as GitHub lets it through: the report's own <details>.
	gfm := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(html.WithUnsafe()))
	if err := gfm.Convert(md.Bytes(), &body); err != nil {
		return err
	}
	f, err := os.Create(page)
	if err != nil {
		return err
	}
	err = conversation.Execute(f, map[string]any{"Style": template.CSS(style), "Body": template.HTML(body.String())})
	return errors.Join(err, f.Close())
}

var conversation = template.Must(template.New("").Parse(`<!doctype html><meta charset="utf-8"><title>comment</title>
<style>{{.Style}}
body{margin:16px;background:#fff;font-family:-apple-system,BlinkMacSystemFont,"Segoe UI","Noto Sans",Helvetica,Arial,sans-serif}
.box{border:1px solid #d1d9e0;border-radius:6px;margin-bottom:16px}
.who{background:#f6f8fa;border-bottom:1px solid #d1d9e0;border-radius:6px 6px 0 0;padding:8px 16px;font-size:14px;color:#59636e}
.who b{color:#1f2328}.who span{border:1px solid #d1d9e0;border-radius:2em;padding:0 6px;font-size:12px;margin:0 4px}
.markdown-body{padding:16px;font-size:14px}
</style>
<div class="box"><div class="who"><b>github-actions</b><span>bot</span>commented</div><article class="markdown-body">{{.Body}}</article></div>
<script>
const top_ = e => e ? Math.round(e.getBoundingClientRect().top) : -1;
const end = e => e ? Math.round(e.getBoundingClientRect().bottom) : -1;
const find = (s, t) => [...document.querySelectorAll(s)].find(e => e.textContent.startsWith(t));
const rows = document.querySelectorAll("tbody tr");
document.body.dataset.positions = JSON.stringify({
  Height: Math.ceil(document.querySelector(".box").getBoundingClientRect().bottom) + 16,
  Verdict: end(document.querySelector("h2")), First: end(find("strong", "First divergence")),
  Table: top_(document.querySelector("table")), Row: end(rows[Math.min(2, rows.length - 1)]), Todo: end(find("h3", "What to do")),
});
</script>
`))
