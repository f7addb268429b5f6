package e2e

import ("testing"; "os/exec")

func TestActPass(t *testing.T) {
	w := newWorld(t, nil)
	r := w.run(job{event: "pull_request", with: "runtime: container\ncheck-run: true"})
	t.Logf("%d %q %v\n%s\n%s", r.code, r.outcome, r.outputs, r.summary, r.log)
	
	t.Logf("%+v", w.repo.Statuses(w.head))
	
	for _, q := range w.hub.Requests() {
		t.Log(q.Method, q.Path, q.Query, q.Status)
	}
out, _ := exec.Command("sh","-c","cd "+w.dir+"; find . -path ./checkout -prune -o -type f -print | head -50; cat out/environment out/foreign out/count; unzip -l artifacts/*/*/*.zip").CombinedOutput(); t.Logf("%s", out)
}
