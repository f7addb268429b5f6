//go:build unix && !linux

package engine

import (
	"os/exec"
	"syscall"
	"time"
)

// waitExit waits for the program's end and reaps it.
func waitExit(cmd *exec.Cmd) error {
	_ = cmd.Wait() // its status is in ProcessState
	return nil
}

func reap(*exec.Cmd) error { return nil }

// clearGroup kills what is left of the group. Who that was is not known here.
func clearGroup(pgid int, signal func(int, syscall.Signal), signalled bool) []string {
	alive := func() bool { return syscall.Kill(-pgid, 0) == nil }
	if !signalled {
		for end := time.Now().Add(settleTime); alive() && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
	}
	if !alive() {
		return nil
	}
	signal(pgid, syscall.SIGKILL)
	for end := time.Now().Add(2 * time.Second); alive() && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if signalled {
		return nil
	}
	return []string{"the rest of its process group"}
}

func pipeHolders([]*capture) []string { return []string{"unknown"} }
