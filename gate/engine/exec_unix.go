//go:build unix

package engine

import "syscall"

// openSafely refuses a symbolic link and does not wait for a pipe's other end.
const openSafely = syscall.O_NOFOLLOW | syscall.O_NONBLOCK
