package action

import "golang.org/x/sys/unix"

// protectMemory keeps other processes of this user, which an engine may have
// left behind, from reading this one's environment and memory, where the token
// is. A failure leaves the other walls standing.
func protectMemory() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// adoptOrphans makes this process the parent of every descendant that loses its
// own: a daemon that an engine left behind cannot hide from killOrphans.
func adoptOrphans() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }
