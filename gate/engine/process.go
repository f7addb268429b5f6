package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/paritygate/paritygate/gate/spec"
)

// Process is one program to run. The zero value of every field but Args has a
// meaning, so a caller sets only what it needs.
type Process struct {
	// Args are the program and its arguments; no shell reads them. A program
	// without a slash is looked up in the PATH of Env, one with a slash is
	// relative to Dir.
	Args []string
	// Dir is the working directory; "" is the caller's.
	Dir string
	// Env is the whole environment, "NAME=value" each. Nil is an empty one: the
	// caller's environment is never inherited.
	Env []string
	// Timeout ends the program after that long; 0 leaves it to the context.
	Timeout time.Duration
	// Grace is the time between SIGTERM and SIGKILL. 0 means 2 s.
	Grace time.Duration
	// MaxOutput bounds the bytes kept of stdout and of stderr: the first half of
	// it and the last half. 0 means 1 MB.
	MaxOutput int64
	// Stdout and Stderr, when set, are also written all output as it comes.
	Stdout, Stderr io.Writer
	// Watch, when set, is called every WatchEvery (0 means 200 ms) while the
	// program runs; an error kills the process group at once and becomes
	// ProcessResult.Stopped.
	Watch      func() error
	WatchEvery time.Duration

	// killWait and signal are replaced by tests that need an immortal process.
	killWait time.Duration
	signal   func(pgid int, s syscall.Signal)
}

// ProcessResult is how a program ended.
type ProcessResult struct {
	// ExitCode is the exit code, −1 when a signal ended the program.
	ExitCode int
	// Signal is the signal that ended it, 0 when it exited.
	Signal syscall.Signal
	// TimedOut: Timeout or the context's deadline ended it.
	TimedOut bool
	// Cancelled: the context was cancelled.
	Cancelled bool
	// Stopped is Watch's error, nil when it had none.
	Stopped error
	// Stuck: it survived SIGKILL, as a process does that waits inside a driver.
	Stuck bool
	// Elapsed is from the start to the program's end.
	Elapsed time.Duration
	Stdout  Output
	Stderr  Output
	// Leftover are the children that were still running when the program had
	// ended, "name (pid 12)"; they were killed.
	Leftover []string
	// Escaped are processes outside the group that kept the program's output
	// open, "name (pid 12)"; they were left alone. Known on Linux only.
	Escaped []string
}

// OK says whether the program ended by itself with exit code 0.
func (r *ProcessResult) OK() bool {
	return r.ExitCode == 0 && r.Signal == 0 && !r.TimedOut && !r.Cancelled && r.Stopped == nil && !r.Stuck
}

// Warnings are what the user should know although the program may have succeeded.
func (r *ProcessResult) Warnings() []string {
	var w []string
	if len(r.Leftover) > 0 {
		w = append(w, fmt.Sprintf("left %s running, killed: %s", plural(len(r.Leftover), "child", "children"), strings.Join(r.Leftover, ", ")))
	}
	if len(r.Escaped) > 0 {
		w = append(w, fmt.Sprintf("%s left the process group and kept the output open, not killed: %s",
			plural(len(r.Escaped), "process", "processes"), strings.Join(r.Escaped, ", ")))
	}
	return w
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

const (
	defaultGrace      = 2 * time.Second
	defaultWatchEvery = 200 * time.Millisecond
	// settleTime lets children that are about to end do so before they count as left over.
	settleTime = 300 * time.Millisecond
	// pipeWait bounds the wait for the end of the output once the group is dead.
	pipeWait = 500 * time.Millisecond
	// defaultKillWait bounds the wait for a process that does not die of SIGKILL.
	defaultKillWait = 10 * time.Second
)

// Run runs the program in a process group of its own and waits for its end.
//
// On timeout or cancellation the group gets SIGTERM and, after Grace, SIGKILL.
// Whatever is left of the group when the program has ended is killed, so that
// no child outlives the call; a child that made itself a session of its own is
// not waited for. Since the group is not the terminal's, an interrupt from the
// keyboard reaches the program only through ctx.
//
// The error is non-nil only when the program could not be started; everything
// else, a crash included, is in the result.
//
// On systems other than Unix only the program itself is killed, not its children.
func (p Process) Run(ctx context.Context) (*ProcessResult, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.defaults()
	if p.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.Timeout)
		defer cancel()
	}
	path, err := p.lookup()
	if err != nil {
		return nil, err
	}
	out, err := newCapture(p.MaxOutput, p.Stdout)
	if err != nil {
		return nil, err
	}
	errs, err := newCapture(p.MaxOutput, p.Stderr)
	if err != nil {
		out.discard()
		return nil, err
	}
	cmd := &exec.Cmd{Path: path, Args: p.Args, Dir: p.Dir, Env: p.Env, Stdout: out.w, Stderr: errs.w, SysProcAttr: newGroup()}
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would inherit
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		out.discard()
		errs.discard()
		return nil, startError(path, p.Dir, err)
	}
	out.start()
	errs.start()
	r := p.wait(ctx, cmd, start)
	r.Stdout, r.Stderr = finishCaptures(r, out, errs)
	return r, nil
}

func (p *Process) defaults() {
	if p.Grace <= 0 {
		p.Grace = defaultGrace
	}
	if p.MaxOutput <= 0 {
		p.MaxOutput = spec.DefaultMaxOutput
	}
	if p.WatchEvery <= 0 {
		p.WatchEvery = defaultWatchEvery
	}
	if p.killWait <= 0 {
		p.killWait = defaultKillWait
	}
	if p.signal == nil {
		p.signal = signalGroup
	}
}

// wait waits for the program's end, ends it where it must, clears its group
// and reaps it.
func (p *Process) wait(ctx context.Context, cmd *exec.Cmd, start time.Time) *ProcessResult {
	r := &ProcessResult{}
	pgid := cmd.Process.Pid
	exited := make(chan struct{})
	var waitErr error
	go func() {
		waitErr = waitExit(cmd)
		close(exited)
	}()
	p.supervise(ctx, pgid, exited, r)
	r.Elapsed = time.Since(start)
	if r.Stuck {
		r.ExitCode = -1
		go func() { <-exited; _ = reap(cmd) }() // should it ever end
		return r
	}
	<-exited
	r.Leftover = clearGroup(pgid, p.signal, r.TimedOut || r.Cancelled || r.Stopped != nil)
	if waitErr == nil {
		waitErr = reap(cmd)
	}
	r.ExitCode, r.Signal = exitStatus(cmd)
	if cmd.ProcessState == nil { // wait itself failed: nothing is known, so nothing went well
		r.ExitCode = -1
		r.Stopped = fmt.Errorf("cannot wait for the program: %w", waitErr)
	}
	return r
}

// supervise returns when the program has ended, or is Stuck.
func (p *Process) supervise(ctx context.Context, pgid int, exited <-chan struct{}, r *ProcessResult) {
	var tick <-chan time.Time
	if p.Watch != nil {
		t := time.NewTicker(p.WatchEvery)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-exited:
			return
		case <-tick:
			if r.Stopped = p.Watch(); r.Stopped != nil {
				p.kill(pgid, exited, r)
				return
			}
		case <-ctx.Done():
			r.TimedOut = errors.Is(ctx.Err(), context.DeadlineExceeded)
			r.Cancelled = !r.TimedOut
			p.signal(pgid, syscall.SIGTERM)
			select {
			case <-exited:
			case <-time.After(p.Grace):
				p.kill(pgid, exited, r)
			}
			return
		}
	}
}

func (p *Process) kill(pgid int, exited <-chan struct{}, r *ProcessResult) {
	p.signal(pgid, syscall.SIGKILL)
	select {
	case <-exited:
	case <-time.After(p.killWait):
		r.Stuck = true
	}
}

// capture is one output stream: a pipe whose read end is drained into a
// bounded buffer. The pipe is ours, not os/exec's, so that it can be closed
// while a stranger still holds its other end.
type capture struct {
	r, w *os.File
	buf  *ends
	tee  io.Writer
	done chan struct{}
}

func newCapture(max int64, tee io.Writer) (*capture, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &capture{r: r, w: w, buf: newEnds(max), tee: tee, done: make(chan struct{})}, nil
}

func (c *capture) discard() {
	c.r.Close()
	c.w.Close()
}

func (c *capture) start() {
	c.w.Close()
	var dst io.Writer = c.buf
	if c.tee != nil {
		dst = io.MultiWriter(c.buf, c.tee)
	}
	go func() {
		defer close(c.done)
		if _, err := io.Copy(dst, c.r); err != nil && c.tee != nil {
			io.Copy(c.buf, c.r) // the tee failed: go on draining, or the program blocks
		}
	}()
}

// finishCaptures waits for the end of both streams, or gives them up when a
// process outside the group keeps them open.
func finishCaptures(r *ProcessResult, cs ...*capture) (Output, Output) {
	var wg sync.WaitGroup
	all := make(chan struct{})
	for _, c := range cs {
		wg.Go(func() { <-c.done })
	}
	go func() { wg.Wait(); close(all) }()
	select {
	case <-all:
	case <-time.After(pipeWait):
		if !r.Stuck {
			r.Escaped = pipeHolders(cs)
		}
	}
	for _, c := range cs {
		c.r.Close() // ends a read that still waits
		<-c.done
	}
	return cs[0].buf.output(), cs[1].buf.output()
}
