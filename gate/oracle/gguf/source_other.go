//go:build !unix

package gguf

import (
	"errors"
	"os"
)

func mapFile(*os.File, int) (source, error) {
	return nil, errors.ErrUnsupported
}
