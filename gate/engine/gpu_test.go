//go:build unix

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paritygate/paritygate/gate/spec"
)

// slow is an engine that notes how many run at once.
type slow struct{ now, most, runs *atomic.Int32 }

func (s slow) Run(context.Context, Input) (*Recording, error) {
	n := s.now.Add(1)
	for m := s.most.Load(); n > m && !s.most.CompareAndSwap(m, n); m = s.most.Load() {
	}
	time.Sleep(20 * time.Millisecond)
	s.now.Add(-1)
	s.runs.Add(1)
	return &Recording{}, nil
}
func (slow) UsesGPU() bool    { return true }
func (slow) Describe() string { return "slow" }

func TestGPUEnginesTakeTurns(t *testing.T) {
	var now, most, runs atomic.Int32
	cache := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			q := &queued{Engine: slow{&now, &most, &runs}, options: Options{CacheDir: cache, Role: Witness}}
			if _, err := q.Run(context.Background(), Input{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() != 1 || runs.Load() != 4 {
		t.Errorf("%d ran at once, %d in all", most.Load(), runs.Load())
	}
}

func TestGPUWaitsForAnotherProcess(t *testing.T) {
	cache := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	locked, ended := make(chan struct{}), make(chan struct{})
	p := self(t, "lock", cache)
	p.Stdout = writerFunc(func(b []byte) (int, error) { close(locked); return len(b), nil })
	go func() {
		defer close(ended)
		if _, err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	<-locked
	var told []string
	o := Options{CacheDir: cache, Progress: func(s string) { told = append(told, s) }}

	short, stop := context.WithTimeout(context.Background(), 150*time.Millisecond)
	defer stop()
	_, err := LockGPU(short, o, "me")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(err), ": reference exec ./worker: context deadline") {
		t.Errorf("got %v", err)
	}
	if len(told) < 2 || !strings.HasPrefix(told[0], "waiting for the GPU, 0 s so far; held by pid ") ||
		!strings.HasSuffix(told[0], ": reference exec ./worker") || told[len(told)-1] != "" {
		t.Errorf("progress %q", told)
	}

	time.AfterFunc(100*time.Millisecond, cancel) // its death sets the lock free
	unlock, err := LockGPU(context.Background(), o, "me")
	if err != nil {
		t.Fatal(err)
	}
	<-ended
	if b, _ := os.ReadFile(filepath.Join(cache, gpuLockName)); string(b) != fmt.Sprintf("pid %d: me\n", os.Getpid()) {
		t.Errorf("the lock says %q", b)
	}
	unlock()
	again, err := LockGPU(context.Background(), o, "me")
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestGPUNoCacheFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	e, err := New(spec.Engine{Adapter: "exec", Command: []string{"./worker", "{{trace}}"}}, Options{CacheDir: filepath.Join(file, "cache")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Run(context.Background(), Input{Name: "p", Dir: t.TempDir()})
	var fault *Error
	if !errors.As(err, &fault) || fault.Kind != NotStarted || fault.Prompt != "p" {
		t.Fatalf("got %v", err)
	}
	want := "exec ./worker: not started: engines that use the GPU take turns (gpu: false says that this one does not use it): cache folder: mkdir " + file + ": not a directory"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}
