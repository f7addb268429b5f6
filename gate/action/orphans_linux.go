package action

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/paritygate/paritygate/gate/engine"
	"golang.org/x/sys/unix"
)

// orphanWait bounds the hunt: a process that waits inside a driver may not die.
const orphanWait = 5 * time.Second

// killOrphans kills every descendant of this process and reaps those that were
// handed to it. It returns who was still running, "name (pid 12)", and whether
// all are gone. It is called when no child of our own is waited for elsewhere.
func killOrphans() (names []string, gone bool) {
	seen := map[int]bool{}
	for end := time.Now().Add(orphanWait); ; {
		alive := 0
		for pid, name := range descendants(os.Getpid()) {
			alive++
			if !seen[pid] {
				seen[pid] = true
				names = append(names, fmt.Sprintf("%s (pid %d)", oneLine(engine.Sanitize(name)), pid))
			}
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		reapAll()
		if alive == 0 {
			return names, true
		}
		if time.Now().After(end) {
			return names, false
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func reapAll() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if pid <= 0 || err != nil {
			return
		}
	}
}

// descendants are the running processes below root, by /proc.
func descendants(root int) map[int]string {
	type process struct {
		parent int
		name   string
		dead   bool
	}
	all := map[int]process{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// "12 (name) S ppid …", where the name may hold anything.
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		from, to := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
		if err != nil || from < 0 || to < from {
			continue
		}
		f := bytes.Fields(b[to+1:])
		if len(f) < 2 {
			continue
		}
		parent, _ := strconv.Atoi(string(f[1]))
		all[pid] = process{parent, string(b[from+1 : to]), f[0][0] == 'Z' || f[0][0] == 'X'}
	}
	found := map[int]string{}
	for pid, p := range all {
		for up, steps := p.parent, 0; up > 1 && steps < 1000; up, steps = all[up].parent, steps+1 {
			if up == root {
				if !p.dead {
					found[pid] = p.name
				}
				break
			}
		}
	}
	return found
}
