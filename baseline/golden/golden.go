// Package golden keeps golden traces, what a reference recorded, in an OCI
// registry: a gate that has them need not run the reference. They are addressed
// by their content, checked when they are read, and kept in a local cache.
package golden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/file"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/retry"
)

const (
	// Scheme begins the name of golden traces: oci:REGISTRY/REPOSITORY:TAG or
	// oci:REGISTRY/REPOSITORY@sha256:DIGEST.
	Scheme = "oci:"
	// ArtifactType and MediaType are what they are in the registry.
	ArtifactType = "application/vnd.paritygate.traces.v1"
	MediaType    = "application/vnd.paritygate.trace.v1"
	// maxFiles bounds the traces of one artifact, maxManifest the bytes of its list.
	maxFiles    = 1000
	maxManifest = 4 << 20
)

// IsName says whether a path names golden traces in a registry.
func IsName(path string) bool { return strings.HasPrefix(path, Scheme) }

// parse reads a name.
func parse(name string) (registry.Reference, error) {
	rest, ok := strings.CutPrefix(name, Scheme)
	if !ok {
		return registry.Reference{}, fmt.Errorf("golden traces %q: want oci:REGISTRY/REPOSITORY:TAG or oci:REGISTRY/REPOSITORY@sha256:DIGEST", name)
	}
	ref, err := registry.ParseReference(rest)
	if err != nil || ref.Reference == "" {
		return ref, fmt.Errorf("golden traces %q: want oci:REGISTRY/REPOSITORY:TAG or oci:REGISTRY/REPOSITORY@sha256:DIGEST", name)
	}
	return ref, nil
}

// connect reaches the repository with the credentials that docker login left.
// Plain HTTP is spoken to this machine alone.
func connect(ref registry.Reference) (*remote.Repository, error) {
	repo, err := remote.NewRepository(ref.Registry + "/" + ref.Repository)
	if err != nil {
		return nil, err
	}
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("docker's credentials: %w", err)
	}
	host := ref.Registry
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	repo.PlainHTTP = host == "localhost" || ip != nil && ip.IsLoopback()
	repo.Client = &auth.Client{Client: retry.DefaultClient, Cache: auth.NewCache(), Credential: credentials.Credential(store)}
	return repo, nil
}

// fileName is what a trace may be called: it becomes a file here.
var fileName = regexp.MustCompile(`^[0-9A-Za-z_][0-9A-Za-z._ -]{0,200}\.(safetensors|jsonl|npz|npy)$`)

// Push sends trace files, each called PROMPT.safetensors or the like, and
// returns the name by digest: the same bytes have the same. Annotations say
// where they come from.
func Push(ctx context.Context, name string, files []string, annotations map[string]string) (string, error) {
	ref, err := parse(name)
	if err != nil {
		return "", err
	}
	if _, err := digest.Parse(ref.Reference); err == nil {
		return "", fmt.Errorf("golden traces %q: give a tag to push to; the digest comes of the bytes", name)
	}
	repo, err := connect(ref)
	if err != nil {
		return "", err
	}
	work, err := os.MkdirTemp("", "paritygate-golden-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	store, err := file.New(work)
	if err != nil {
		return "", err
	}
	defer store.Close()
	layers, err := add(ctx, store, files)
	if err != nil {
		return "", err
	}
	all := map[string]string{ocispec.AnnotationCreated: "1970-01-01T00:00:00Z"} // the same bytes, the same digest
	for k, v := range annotations {
		all["dev.paritygate."+k] = v
	}
	manifest, err := oras.PackManifest(ctx, store, oras.PackManifestVersion1_1, ArtifactType, oras.PackManifestOptions{Layers: layers, ManifestAnnotations: all})
	if err != nil {
		return "", err
	}
	if err := store.Tag(ctx, manifest, ref.Reference); err != nil {
		return "", err
	}
	if _, err := oras.Copy(ctx, store, ref.Reference, repo, ref.Reference, oras.DefaultCopyOptions); err != nil {
		return "", fmt.Errorf("cannot push to %s: %w", name, err)
	}
	return Scheme + ref.Registry + "/" + ref.Repository + "@" + manifest.Digest.String(), nil
}

// add takes the files up, in the order of their names.
func add(ctx context.Context, store *file.Store, files []string) ([]ocispec.Descriptor, error) {
	if len(files) == 0 || len(files) > maxFiles {
		return nil, fmt.Errorf("%d traces: want 1 to %d", len(files), maxFiles)
	}
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	var layers []ocispec.Descriptor
	for i, f := range files {
		base := filepath.Base(f)
		switch {
		case !fileName.MatchString(base):
			return nil, fmt.Errorf("%s: want a name as PROMPT.safetensors, of letters, digits, dots, blanks and hyphens", f)
		case i > 0 && base == filepath.Base(files[i-1]):
			return nil, fmt.Errorf("%s and %s have the same name", files[i-1], f)
		}
		st, err := os.Lstat(f)
		if err != nil {
			return nil, err
		}
		if !st.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is no file", f)
		}
		abs, err := filepath.Abs(f)
		if err != nil {
			return nil, err
		}
		d, err := store.Add(ctx, base, MediaType, abs)
		if err != nil {
			return nil, err
		}
		layers = append(layers, d)
	}
	return layers, nil
}

// Pulled are golden traces on this machine.
type Pulled struct {
	// Name is by digest, whatever the traces were asked for by.
	Name string
	// Dir holds the traces, under the names they were pushed by. Its files are
	// the cache's own: not to be changed.
	Dir   string
	Files []string // of Dir, sorted
}

// Path is what a spec writes for them: the only trace, or one a prompt.
func (p *Pulled) Path() (string, error) {
	if len(p.Files) == 1 {
		return filepath.Join(p.Dir, p.Files[0]), nil
	}
	ext := filepath.Ext(p.Files[0])
	for _, f := range p.Files {
		if filepath.Ext(f) != ext {
			return "", fmt.Errorf("%s holds traces of several formats: %s and %s", p.Name, p.Files[0], f)
		}
	}
	return filepath.Join(p.Dir, "{{prompt}}"+ext), nil
}

// Pull brings golden traces here, unless they are: what is named by its digest
// and was pulled before needs no registry. cache is a folder that any number of
// pulls may share.
func Pull(ctx context.Context, name, cache string) (*Pulled, error) {
	ref, err := parse(name)
	if err != nil {
		return nil, err
	}
	if d, err := digest.Parse(ref.Reference); err == nil {
		if p, err := open(cache, ref, d); err == nil {
			return p, nil
		}
	}
	repo, err := connect(ref)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	// A layout of its own for each pull, so that two at once cannot disturb each
	// other; only whole folders are renamed into the cache.
	work, err := os.MkdirTemp(cache, ".pull-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	layout, err := oci.NewWithContext(ctx, work)
	if err != nil {
		return nil, err
	}
	manifest, err := oras.Copy(ctx, repo, ref.Reference, layout, "pulled", bounded())
	if err != nil {
		return nil, fmt.Errorf("cannot pull %s: %w", name, err)
	}
	if err := unpack(ctx, layout, work, manifest, folder(cache, manifest.Digest)); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return open(cache, ref, manifest.Digest)
}

// bounded refuses manifests of absurd size and other kinds of artifacts before
// their layers are fetched.
func bounded() oras.CopyOptions {
	o := oras.DefaultCopyOptions
	o.MaxMetadataBytes = maxManifest
	o.FindSuccessors = func(ctx context.Context, f content.Fetcher, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if d.MediaType == ocispec.MediaTypeImageManifest {
			if _, err := layersOf(ctx, f, d); err != nil {
				return nil, err
			}
		}
		return content.Successors(ctx, f, d)
	}
	return o
}

func folder(cache string, d digest.Digest) string {
	return filepath.Join(cache, d.Algorithm().String()+"-"+d.Encoded())
}

// open finds what was pulled before.
func open(cache string, ref registry.Reference, d digest.Digest) (*Pulled, error) {
	p := &Pulled{Name: Scheme + ref.Registry + "/" + ref.Repository + "@" + d.String(), Dir: folder(cache, d)}
	entries, err := os.ReadDir(p.Dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		p.Files = append(p.Files, e.Name())
	}
	if len(p.Files) == 0 {
		return nil, fmt.Errorf("%s: %w", p.Dir, fs.ErrNotExist)
	}
	return p, nil
}

// unpack makes the folder of an artifact from its layout. oras has checked every
// blob against its digest.
func unpack(ctx context.Context, layout *oci.Store, work string, manifest ocispec.Descriptor, to string) error {
	layers, err := layersOf(ctx, layout, manifest)
	if err != nil {
		return err
	}
	dir := filepath.Join(work, "traces")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for _, l := range layers {
		blob := filepath.Join(work, "blobs", l.Digest.Algorithm().String(), l.Digest.Encoded())
		if err := os.Link(blob, filepath.Join(dir, l.Annotations[ocispec.AnnotationTitle])); err != nil {
			return err
		}
	}
	err = os.Rename(dir, to)
	if _, e := os.Stat(to); err != nil && e == nil {
		return nil // another pull was faster, with the same bytes
	}
	return err
}

// layersOf reads a manifest and refuses what Push did not write.
func layersOf(ctx context.Context, f content.Fetcher, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if d.MediaType != ocispec.MediaTypeImageManifest || d.Size > maxManifest {
		return nil, fmt.Errorf("it is no list of traces: %s of %d bytes", d.MediaType, d.Size)
	}
	data, err := content.FetchAll(ctx, f, d)
	if err != nil {
		return nil, err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("its list of traces is not valid: %w", err)
	}
	if m.ArtifactType != ArtifactType {
		return nil, fmt.Errorf("it holds %q, not traces (%s)", m.ArtifactType, ArtifactType)
	}
	if len(m.Layers) == 0 || len(m.Layers) > maxFiles {
		return nil, fmt.Errorf("it holds %d traces: want 1 to %d", len(m.Layers), maxFiles)
	}
	seen := map[string]bool{}
	for _, l := range m.Layers {
		title := l.Annotations[ocispec.AnnotationTitle]
		switch {
		case !fileName.MatchString(title):
			return nil, fmt.Errorf("it holds a trace called %q: want a name as PROMPT.safetensors", title)
		case seen[title]:
			return nil, fmt.Errorf("it holds two traces called %q", title)
		case l.Digest.Validate() != nil:
			return nil, errors.New("the digest of " + title + " is not valid")
		}
		seen[title] = true
	}
	return m.Layers, nil
}
