package engine

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// gpuLockName is the file in the cache folder whose lock stands for the GPU.
const gpuLockName = "gpu.lock"

// gpuPoll is how often a held lock is tried again.
const gpuPoll = 100 * time.Millisecond

// LockGPU waits until this caller alone may use the machine's GPUs and returns
// the function that lets the next one in. Two engines side by side would run
// out of memory or choose other kernels for the lack of it, and measure each
// other.
//
// The lock is an flock on gpu.lock in the cache folder: it holds between the
// goroutines of a process and between processes that share the folder, and it
// ends with the process that holds it. There is one for all GPUs of the machine.
// who says who holds it, for those that wait; they tell o.Progress. The error is
// the context's, or why the file cannot be locked.
//
// On systems without flock it holds within the process only.
func LockGPU(ctx context.Context, o Options, who string) (unlock func(), err error) {
	dir, err := o.cacheDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, gpuLockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock of the GPU: %w", err)
	}
	start, told := time.Now(), false
	for {
		held, err := tryLock(f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock of the GPU: %s: %w", path, err)
		}
		if held {
			break
		}
		told = true
		o.progress("waiting for the GPU, %.0f s so far; held by %s", time.Since(start).Seconds(), holder(f))
		select {
		case <-ctx.Done():
			o.progress("")
			defer f.Close()
			return nil, fmt.Errorf("waiting for the GPU, held by %s: %w", holder(f), ctx.Err())
		case <-time.After(gpuPoll):
		}
	}
	if told {
		o.progress("")
	}
	if err := f.Truncate(0); err == nil { // who holds it is a courtesy, the lock does not depend on it
		_, _ = f.WriteAt([]byte(fmt.Sprintf("pid %d: %s\n", os.Getpid(), Sanitize(who))), 0)
	}
	return func() {
		_ = f.Truncate(0)
		releaseLock(f)
		f.Close()
	}, nil
}

// holder is what the lock's holder wrote about itself.
func holder(f *os.File) string {
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, 200))
	if s := strings.TrimSpace(Sanitize(string(b))); s != "" {
		return strings.ReplaceAll(s, "\n", " ")
	}
	return "another run"
}

// queued is an engine that runs when no other one uses the GPU.
type queued struct {
	Engine
	options Options
}

// Run waits for the GPU and runs the engine; the engine's timeout starts then.
func (q *queued) Run(ctx context.Context, in Input) (*Recording, error) {
	unlock, err := LockGPU(ctx, q.options, fmt.Sprintf("%s %s", q.options.Role, q.Describe()))
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, &Error{Kind: NotStarted, Engine: q.Describe(), Prompt: in.Name, Err: err,
			Detail: "engines that use the GPU take turns (gpu: false says that this one does not use it)"}
	}
	defer unlock()
	return q.Engine.Run(ctx, in)
}
