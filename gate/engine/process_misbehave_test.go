//go:build unix

package engine

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The tests run this very binary as an engine: "misbehave MODE TRACE [ARG]".
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "misbehave" {
		misbehave(os.Args[2], os.Args[3:])
		syscall.Exit(0) // os.Exit takes a second under the race detector
	}
	os.Exit(m.Run())
}

var ids = []int32{256, 100, 101}

func misbehave(mode string, args []string) {
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	path := arg(0)
	if m, ok := processModes[mode]; ok {
		m(path, arg(1))
	} else if m, ok := traceModes[mode]; ok {
		m(path, arg(1))
	} else {
		fmt.Fprintln(os.Stderr, "unknown mode", mode)
		syscall.Exit(99)
	}
}

// processModes misbehave as processes; those that end well write a good trace.
var processModes = map[string]func(path, arg string){
	"good": func(path, _ string) {
		write(path, safetensors(1, 2, 3))
		fmt.Println("ran 3 tokens")
		fmt.Fprintln(os.Stderr, "\x1b[31m::error::not an error\x1b[0m")
	},
	"exit": func(_, arg string) {
		fmt.Fprintln(os.Stderr, "loading\ncannot allocate the KV cache")
		n, _ := strconv.Atoi(arg)
		syscall.Exit(n)
	},
	"stdout-only": func(_, _ string) {
		fmt.Println("assertion failed")
		syscall.Exit(1)
	},
	"signal": func(_, arg string) { // a shell, for Go's runtime catches some signals
		must(syscall.Exec("/bin/sh", []string{"sh", "-c", "ulimit -c 0; kill -" + arg + " $$"}, nil))
	},
	"hang": hang,
	"obey": func(_, _ string) { // ends by itself when asked to
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Println("ready")
		<-c
		fmt.Println("cleaned up")
	},
	"hang-child": func(path, arg string) { // both ignore SIGTERM, both hold stdout
		child("hang", arg, nil)
		hang(path, arg)
	},
	"fork": func(path, arg string) {
		child("hang", arg, nil)
		write(path, safetensors(1, 2, 3))
	},
	"fork-short": func(path, _ string) { // the child ends by itself just after
		c := exec.Command("/bin/sh", "-c", "sleep 0.1; echo late")
		c.Stdout = os.Stdout
		must(c.Start())
		write(path, safetensors(1, 2, 3))
	},
	"daemon": func(path, arg string) {
		child("hang", arg, &syscall.SysProcAttr{Setsid: true})
		write(path, safetensors(1, 2, 3))
	},
	"spam": func(path, arg string) {
		n, _ := strconv.Atoi(arg)
		fmt.Print("first line\n")
		block := []byte(strings.Repeat("spam and eggs, ", 1<<12))
		for left := n - len("first line\nlast line\n"); left > 0; left -= len(block) {
			os.Stdout.Write(block[:min(left, len(block))])
		}
		fmt.Print("last line\n")
		write(path, safetensors(1, 2, 3))
	},
	"lock": func(cache, _ string) {
		_, err := LockGPU(context.Background(), Options{CacheDir: cache}, "reference exec ./worker")
		must(err)
		fmt.Println("locked")
		time.Sleep(time.Minute)
	},
	"environment": func(path, _ string) {
		fmt.Println(strings.Join(os.Environ(), "\n"))
		write(path, safetensors(1, 2, 3))
	},
	"close": func(path, _ string) {
		os.Stdout.Close()
		os.Stderr.Close()
		time.Sleep(50 * time.Millisecond)
		write(path, safetensors(1, 2, 3))
	},
	"second": func(path, arg string) { // arg counts the attempts; crashes at the first
		count(arg)
		if attempts(arg) == 1 {
			write(path, []byte("half")) // must not be there at the second
			write(filepath.Join(filepath.Dir(path), "out", "old"), nil)
			syscall.Exit(7)
		}
		if _, err := os.Lstat(path); err == nil {
			syscall.Exit(8)
		}
		if _, err := os.Lstat(filepath.Join(filepath.Dir(path), "out", "old")); err == nil {
			syscall.Exit(9)
		}
		write(path, safetensors(1, 2, 3))
	},
	"count-exit": func(_, arg string) { count(arg); syscall.Exit(7) },
	"count-hang": func(_, arg string) { count(arg); time.Sleep(time.Minute) },
	"count-bad":  func(path, arg string) { count(arg); write(path, []byte("no trace at all")) },
}

// traceModes end well and write traces of all sorts.
var traceModes = map[string]func(path, arg string){
	"jsonl": func(path, _ string) {
		var b strings.Builder
		for i, v := range []string{"[1,2]", "[3,4]"} {
			fmt.Fprintf(&b, `{"checkpoint":"logits","team":"t","token_idx":%d,"dtype":"f32","shape":"[2]","values":%s}`+"\n", i, v)
		}
		write(path, []byte(b.String()))
	},
	"shards": func(path, _ string) {
		must(os.Mkdir(path, 0o755))
		write(filepath.Join(path, "a.safetensors"), safetensors(1, 2, 3))
	},
	"half":   func(path, _ string) { b := safetensors(1, 2, 3); write(path, b[:len(b)-5]) },
	"nan":    func(path, _ string) { write(path, safetensors(1, float32(math.NaN()), 3)) },
	"none":   func(_, _ string) {},
	"folder": func(path, _ string) { must(os.Mkdir(path, 0o755)) },
	"elsewhere": func(path, _ string) {
		write(path+".safetensors", safetensors(1, 2, 3))
		for i := range 9 {
			write(filepath.Join(filepath.Dir(path), "out", fmt.Sprintf("log%d", i)), []byte("x"))
		}
	},
	"symlink": func(path, arg string) { must(os.Symlink(arg, path)) },
	"symlink-shard": func(path, arg string) {
		must(os.Mkdir(path, 0o755))
		must(os.Symlink(arg, filepath.Join(path, "a.safetensors")))
	},
	"fifo":  func(path, _ string) { must(syscall.Mkfifo(path, 0o644)) },
	"large": func(path, _ string) { write(path, make([]byte, 5000)) },
	"endless": func(path, _ string) {
		f, err := os.Create(path)
		must(err)
		for range 6000 { // a minute's worth: never more than 600 MB
			f.Write(make([]byte, 100_000))
			time.Sleep(10 * time.Millisecond)
		}
	},
	"arguments": func(path, arg string) {
		fmt.Println(arg)
		write(path, safetensors(1, 2, 3))
	},
}

func hang(_, _ string) {
	signal.Ignore(syscall.SIGTERM)
	fmt.Println("hanging")
	time.Sleep(time.Minute)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		syscall.Exit(98)
	}
}

func write(path string, b []byte) { must(os.WriteFile(path, b, 0o644)) }

// count adds one byte to a file an attempt.
func count(path string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	must(err)
	_, err = f.Write([]byte("."))
	must(err)
	must(f.Close())
}

func attempts(path string) int {
	b, _ := os.ReadFile(path)
	return len(b)
}

// child starts this binary once more, with the same output, and leaves its
// process id in pidFile once it runs.
func child(mode, pidFile string, attr *syscall.SysProcAttr) {
	c := exec.Command(os.Args[0], "misbehave", mode)
	c.Stdout, c.SysProcAttr = os.Stdout, attr
	must(c.Start())
	write(pidFile, []byte(strconv.Itoa(c.Process.Pid)))
	time.Sleep(150 * time.Millisecond) // until it ignores SIGTERM
}

// safetensors is a trace with one checkpoint, a row a value.
func safetensors(values ...float32) []byte {
	tokens, _ := json.Marshal(ids)
	header, _ := json.Marshal(map[string]any{
		"__metadata__": map[string]string{"paritygate": "1", "engine": "misbehave", "engine_version": "9.1", "device": "cpu",
			"compute_dtype": "f32", "tokens": string(tokens)},
		"out.0": map[string]any{"dtype": "F32", "shape": []int{len(values), 1}, "data_offsets": []int{0, 4 * len(values)}},
	})
	for len(header)%8 != 0 {
		header = append(header, ' ')
	}
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}
