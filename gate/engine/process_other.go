//go:build !unix

package engine

import (
	"os"
	"os/exec"
	"syscall"
)

func newGroup() *syscall.SysProcAttr { return nil }

// signalGroup kills the program: there is no group and no gentler signal here.
func signalGroup(pid int, _ syscall.Signal) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
		_ = p.Release()
	}
}

func waitExit(cmd *exec.Cmd) error {
	_ = cmd.Wait() // its status is in ProcessState
	return nil
}

func reap(*exec.Cmd) error { return nil }

func clearGroup(int, func(int, syscall.Signal), bool) []string { return nil }

func pipeHolders([]*capture) []string { return []string{"unknown"} }

func exitStatus(cmd *exec.Cmd) (code int, sig syscall.Signal) {
	if cmd.ProcessState == nil {
		return -1, 0
	}
	return cmd.ProcessState.ExitCode(), 0
}

func signalName(s syscall.Signal) string { return s.String() }
