// Paritygate says whether an inference engine still computes what a reference
// engine computes; if not, from which layer on, by how much, and what kind of
// mistake it looks like.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/paritygate/paritygate/gate/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once, should it hang on the first.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	return cli.Main(ctx, args, cli.Process{Stdin: stdin, Stdout: stdout, Stderr: stderr, Getenv: getenv})
}
