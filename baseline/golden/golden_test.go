package golden

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/memory"

	"github.com/paritygate/paritygate/baseline/golden/registrytest"
)

// registryServer starts a real registry on this machine.
func registryServer(t *testing.T) string {
	t.Helper()
	host, stop, err := registrytest.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return host
}

// traces writes files of some megabytes.
func traces(t *testing.T, names ...string) (files []string) {
	t.Helper()
	dir := t.TempDir()
	for i, n := range names {
		f := filepath.Join(dir, n)
		if err := os.WriteFile(f, bytes.Repeat([]byte{byte(i + 1), 2, 3, 4}, 1<<18), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

func push(t *testing.T, name string, files []string) string {
	t.Helper()
	got, err := Push(context.Background(), name, files, map[string]string{"engine": "llama.cpp"})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestPushPull(t *testing.T) {
	host := registryServer(t)
	files := traces(t, "b.safetensors", "a prompt.safetensors")
	tagged := Scheme + host + "/acme/golden:v1"
	byDigest := push(t, tagged, files)
	if again := push(t, Scheme+host+"/acme/golden:v2", []string{files[1], files[0]}); again != byDigest {
		t.Errorf("the same traces are %s and %s", byDigest, again)
	}
	cache := filepath.Join(t.TempDir(), "cache")
	p, err := Pull(context.Background(), tagged, cache)
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != byDigest || strings.Join(p.Files, "|") != "a prompt.safetensors|b.safetensors" {
		t.Errorf("pulled %+v, want %s", p, byDigest)
	}
	for _, f := range files {
		want, _ := os.ReadFile(f)
		if got, err := os.ReadFile(filepath.Join(p.Dir, filepath.Base(f))); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s came back otherwise (%v)", f, err)
		}
	}
	if path, err := p.Path(); err != nil || path != filepath.Join(p.Dir, "{{prompt}}.safetensors") {
		t.Errorf("path %s, %v", path, err)
	}
	left, err := filepath.Glob(filepath.Join(cache, ".pull-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in the cache: %v", left)
	}
}

func TestSinglePath(t *testing.T) {
	host := registryServer(t)
	name := push(t, Scheme+host+"/one:v1", traces(t, "haiku.jsonl"))
	p, err := Pull(context.Background(), name, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if path, err := p.Path(); err != nil || path != filepath.Join(p.Dir, "haiku.jsonl") {
		t.Errorf("path %s, %v", path, err)
	}
	mixed := push(t, Scheme+host+"/two:v1", traces(t, "a.jsonl", "b.safetensors"))
	if p, err = Pull(context.Background(), mixed, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Path(); err == nil || !strings.Contains(err.Error(), "several formats") {
		t.Errorf("traces of two formats: %v", err)
	}
}

// What was pulled by its digest needs no registry any more.
func TestCache(t *testing.T) {
	host := registryServer(t)
	up, err := url.Parse("http://" + host)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	requests := 0
	proxy := httputil.NewSingleHostReverseProxy(up)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests++
		mu.Unlock()
		proxy.ServeHTTP(w, r)
	})}
	go srv.Serve(l)
	defer srv.Close()
	name := push(t, Scheme+l.Addr().String()+"/golden:v1", traces(t, "a.safetensors"))
	cache := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := Pull(context.Background(), name, cache); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	mu.Lock()
	before := requests
	mu.Unlock()
	if _, err := Pull(context.Background(), name, cache); err != nil || requests != before {
		t.Errorf("a second pull sent %d requests, %v", requests-before, err)
	}
}

// What the registry sends is not believed.
func TestHostileArtifacts(t *testing.T) {
	host := registryServer(t)
	ctx := context.Background()
	for name, tt := range map[string]struct {
		kind  string
		title []string
		want  string
	}{
		"another kind": {"application/vnd.example", []string{"a.safetensors"}, "not traces"},
		"path":         {ArtifactType, []string{"../../../etc/x.safetensors"}, "want a name as PROMPT.safetensors"},
		"no title":     {ArtifactType, []string{""}, "want a name as PROMPT.safetensors"},
		"twice":        {ArtifactType, []string{"a.npz", "a.npz"}, "two traces called"},
		"hidden":       {ArtifactType, []string{".a.npz"}, "want a name as PROMPT.safetensors"},
	} {
		t.Run(name, func(t *testing.T) {
			m := memory.New()
			var layers []ocispec.Descriptor
			for i, title := range tt.title {
				data := []byte{byte(i)}
				d := content.NewDescriptorFromBytes(MediaType, data)
				if err := m.Push(ctx, d, bytes.NewReader(data)); err != nil {
					t.Fatal(err)
				}
				d.Annotations = map[string]string{ocispec.AnnotationTitle: title}
				layers = append(layers, d)
			}
			d, err := oras.PackManifest(ctx, m, oras.PackManifestVersion1_1, tt.kind, oras.PackManifestOptions{Layers: layers})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Tag(ctx, d, "x"); err != nil {
				t.Fatal(err)
			}
			ref, err := parse(Scheme + host + "/hostile:x")
			if err != nil {
				t.Fatal(err)
			}
			repo, err := connect(ref)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := oras.Copy(ctx, m, "x", repo, "x", oras.DefaultCopyOptions); err != nil {
				t.Fatal(err)
			}
			cache := t.TempDir()
			if _, err := Pull(ctx, Scheme+host+"/hostile:x", cache); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("pulled: %v, want %q", err, tt.want)
			}
			if left, _ := os.ReadDir(cache); len(left) != 0 {
				t.Errorf("left in the cache: %v", left)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	host := registryServer(t)
	ctx := context.Background()
	absent := digest.FromString("absent").String()
	for name, want := range map[string]string{
		"ghcr.io/acme/x:v1":                   "want oci:REGISTRY/REPOSITORY:TAG",
		"oci:ghcr.io/acme/x":                  "want oci:REGISTRY/REPOSITORY:TAG",
		"oci:x":                               "want oci:REGISTRY/REPOSITORY:TAG",
		Scheme + host + "/none:v1":            "cannot pull",
		Scheme + host + "/none@" + absent:     "cannot pull",
		"oci:127.0.0.1:1/acme/x@" + absent:    "cannot pull",
		Scheme + host + "/none@sha256:ABCDEF": "want oci:REGISTRY/REPOSITORY:TAG",
	} {
		c, cancel := context.WithTimeout(ctx, 2*time.Second)
		if _, err := Pull(c, name, t.TempDir()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Pull(%s): %v, want %q", name, err, want)
		}
		cancel()
	}
	if _, err := Push(ctx, Scheme+host+"/x@"+absent, traces(t, "a.npz"), nil); err == nil || !strings.Contains(err.Error(), "give a tag") {
		t.Errorf("push to a digest: %v", err)
	}
	for _, files := range [][]string{nil, traces(t, "a.exe"), append(traces(t, "a.npz"), traces(t, "a.npz")...)} {
		if _, err := Push(ctx, Scheme+host+"/x:v1", files, nil); err == nil {
			t.Errorf("pushed %v", files)
		}
	}
	if _, err := Push(ctx, Scheme+host+"/x:v1", []string{filepath.Join(t.TempDir(), "gone.npz")}, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
