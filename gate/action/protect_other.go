//go:build !linux

package action

import "errors"

func protectMemory() {}

func adoptOrphans() error {
	return errors.New("processes that an engine leaves behind in a session of their own are found on Linux only")
}
