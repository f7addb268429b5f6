package engine

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// waitExit waits until the program has ended but does not reap it: its zombie
// keeps the group's id from being given to somebody else until the rest of the
// group is dead.
func waitExit(cmd *exec.Cmd) error {
	const (
		pPID    = 1
		wExited = 0x4
		wNoWait = 0x1000000
	)
	var siginfo [128]byte
	for {
		_, _, e := syscall.Syscall6(syscall.SYS_WAITID, pPID, uintptr(cmd.Process.Pid),
			uintptr(unsafe.Pointer(&siginfo[0])), wExited|wNoWait, 0, 0)
		if e == 0 || e == syscall.ECHILD {
			return nil
		}
		if e != syscall.EINTR {
			return cmd.Wait() // a system without waitid: reap at once
		}
	}
}

// reap collects the exit status.
func reap(cmd *exec.Cmd) error {
	if cmd.ProcessState != nil {
		return nil
	}
	return cmd.Wait()
}

// clearGroup kills what is left of the group and returns who that was. Unless
// the group was signalled already, children get a moment to end by themselves:
// the far end of a pipe still writes when its writer has gone.
func clearGroup(pgid int, signal func(int, syscall.Signal), signalled bool) []string {
	left := groupMembers(pgid)
	if !signalled {
		for end := time.Now().Add(settleTime); len(left) > 0 && time.Now().Before(end); left = groupMembers(pgid) {
			time.Sleep(10 * time.Millisecond)
		}
	}
	signal(pgid, syscall.SIGKILL) // even with no member seen: /proc may hide them
	for end := time.Now().Add(2 * time.Second); len(groupMembers(pgid)) > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if signalled {
		return nil // they are no fault of the program: it was not let finish
	}
	return left
}

// groupMembers lists the running processes of a group without its leader.
func groupMembers(pgid int) []string {
	var found []string
	for _, pid := range processes() {
		if pid == pgid {
			continue
		}
		name, state, group := processStat(pid)
		if group == pgid && state != 'Z' && state != 'X' {
			found = append(found, label(name, pid))
		}
	}
	return found
}

func label(name string, pid int) string { return fmt.Sprintf("%s (pid %d)", Sanitize(name), pid) }

func processes() []int {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	var pids []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// processStat reads /proc/PID/stat: "12 (name) S ppid pgrp …", where the name
// itself may hold anything, parentheses included. group is 0 when it is gone.
func processStat(pid int) (name string, state byte, group int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, 0
	}
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return "", 0, 0
	}
	f := bytes.Fields(b[end+1:])
	if len(f) < 3 {
		return "", 0, 0
	}
	group, _ = strconv.Atoi(string(f[2]))
	return string(b[open+1 : end]), f[0][0], group
}

// pipeHolders lists the processes that have the write end of a stream open.
func pipeHolders(cs []*capture) []string {
	want := map[string]bool{}
	for _, c := range cs {
		if fi, err := c.r.Stat(); err == nil {
			if st, ok := fi.Sys().(*syscall.Stat_t); ok {
				want[fmt.Sprintf("pipe:[%d]", st.Ino)] = true
			}
		}
	}
	var found []string
	for _, pid := range processes() {
		if pid == os.Getpid() {
			continue
		}
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if slices.ContainsFunc(fds, func(fd string) bool { l, _ := os.Readlink(fd); return want[l] }) {
			name, _, _ := processStat(pid)
			found = append(found, label(name, pid))
		}
	}
	return found
}
