package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/spec"
)

func TestEnvironmentAllows(t *testing.T) {
	for _, name := range []string{"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE",
		"HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ROCM_PATH", "GGML_CUDA_FORCE_MMQ", "OMP_NUM_THREADS", "MKL_CBWR", "OPENBLAS_NUM_THREADS",
		"RUST_BACKTRACE", "RUST_LOG", "PYTHONPATH", "VIRTUAL_ENV", "HF_HOME", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "XDG_CACHE_HOME",
		"TOKENIZERS_PARALLELISM", "CUBLAS_WORKSPACE_CONFIG"} {
		env, err := Environment([]string{name + "=a=b"}, spec.Engine{}, nil)
		if err != nil || len(env) != 1 || env[0] != name+"=a=b" {
			t.Errorf("%s: got %q, %v", name, env, err)
		}
	}
}

// secretNames reach no engine by themselves: some because nothing allows them,
// some although a pattern of the allow-list fits.
var secretNames = []string{"GITHUB_TOKEN", "GITHUB_SHA", "GH_TOKEN", "ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_CACHE_URL",
	"RUNNER_TRACKING_ID", "INPUT_MODEL", "CI_JOB_TOKEN", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "DB_PASSWORD", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_REGION",
	"AZURE_CLIENT_ID", "GOOGLE_APPLICATION_CREDENTIALS", "OPENAI_API_KEY", "SSH_AUTH_SOCK", "NPM_CONFIG__AUTH", "WANDB_API_KEY", "KUBECONFIG", "TF_VAR_x",
	"NVIDIA_API_KEY", "NVIDIA_NGC_TOKEN", "CUDA_SECRET", "CUDA_MY_SECRETS", "GGML_PASSWORD", "LLAMA_API_KEY", "LLAMA_CLOUD_API_KEY", "TORCH_CREDENTIALS", "TRANSFORMERS_TOKEN",
	"LC_TOKEN", "LC_GITHUB_TOKEN", "OMP_PRIVATE_THING", "MKL_ACCESS_KEYS", "CUDA_TOKEN_FILE", "JAX_AUTH_X", "TORCH_PAT", "XLA_DSN", "cuda_token", "Lc_Token",
	"LC_my_token", "CUDA_Api_Key", "LD_PRELOAD", "BASH_ENV", "BASH_FUNC_x%%", "http_proxy", "ANYTHING"}

func TestEnvironmentKeepsSecrets(t *testing.T) {
	for _, name := range secretNames {
		env, err := Environment([]string{name + "=s3cr3t"}, spec.Engine{PassEnv: []string{"OTHER"}}, nil)
		if err != nil || len(env) != 0 {
			t.Errorf("%s: got %q, %v", name, env, err)
		}
	}
	// A secret is not let in by the shape of the list either.
	if env, err := Environment([]string{"=C:=x", "no equals sign", "PATHX=1", "XPATH=1", ""}, spec.Engine{}, nil); err != nil || len(env) != 0 {
		t.Errorf("got %q, %v", env, err)
	}
}

func TestEnvironmentPasses(t *testing.T) {
	caller := []string{"PATH=/bin", "HF_TOKEN=old", "HF_TOKEN=new", "EMPTY=", "X=caller"}
	cfg := spec.Engine{PassEnv: []string{"HF_TOKEN", "EMPTY", "ABSENT", "X"}, Env: map[string]string{"X": "spec {{out}}", "PATH": "/opt/bin", "A": ""}}
	env, err := Environment(caller, cfg, map[string]string{"out": "/o"})
	if got, want := strings.Join(env, "\n"), "A=\nEMPTY=\nHF_TOKEN=new\nPATH=/opt/bin\nX=spec /o"; got != want || err != nil {
		t.Errorf("got\n%s, %v\nwant\n%s", got, err, want)
	}
}

func TestEnvironmentRefuses(t *testing.T) {
	pass := func(name string) spec.Engine { return spec.Engine{PassEnv: []string{name}} }
	set := func(name, value string) spec.Engine { return spec.Engine{Env: map[string]string{name: value}} }
	const why = " is never given to an engine: it opens the repository or the workflow run"
	for _, c := range []struct {
		cfg  spec.Engine
		want string
	}{
		{pass("GITHUB_TOKEN"), "pass_env: GITHUB_TOKEN" + why},
		{pass("github_token"), "pass_env: github_token" + why},
		{pass("ACTIONS_RUNTIME_TOKEN"), "pass_env: ACTIONS_RUNTIME_TOKEN" + why},
		{pass("ACTIONS_ID_TOKEN_REQUEST_TOKEN"), "pass_env: ACTIONS_ID_TOKEN_REQUEST_TOKEN" + why},
		{set("GITHUB_TOKEN", "x"), "env: GITHUB_TOKEN" + why},
		{pass(""), "pass_env: the name of a variable is empty"},
		{pass("*"), `pass_env: "*" is not the name of a variable: name each one, without =, * or a zero byte`},
		{pass("GITHUB_*"), `pass_env: "GITHUB_*" is not the name of a variable: name each one, without =, * or a zero byte`},
		{pass("A=b"), `pass_env: "A=b" is not the name of a variable: name each one, without =, * or a zero byte`},
		{set("A\x00B", "x"), `env: "A\x00B" is not the name of a variable: name each one, without =, * or a zero byte`},
		{set("A", "x\x00y"), "env: A: the value holds a zero byte"},
		{set("A", "{{model}}"), "env: A: {{model}} has no value here"},
	} {
		env, err := Environment([]string{"GITHUB_TOKEN=s3cr3t", "github_token=s3cr3t"}, c.cfg, nil)
		if err == nil || err.Error() != c.want || env != nil {
			t.Errorf("got  %q, %v\nwant %s", env, err, c.want)
		}
	}
}

// TestEnvironmentDocumented holds the page and the lists together.
func TestEnvironmentDocumented(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "engines.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(b), "\n## Environment\n")
	if !ok {
		t.Fatal("docs/engines.md has no section Environment")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	known := map[string]bool{"pass_env": true, "env": true}
	for _, list := range [][]string{allowed, secret, never} {
		for _, name := range list {
			known[name] = true
			if !strings.Contains(section, "`"+name+"`") {
				t.Errorf("docs/engines.md does not name `%s`", name)
			}
		}
	}
	for i, name := range strings.Split(section, "`") {
		if i%2 == 1 && !known[name] {
			t.Errorf("docs/engines.md names `%s`, which no list holds", name)
		}
	}
}

// FuzzEnvironment: no name gets past the guard by its spelling.
func FuzzEnvironment(f *testing.F) {
	for _, name := range secretNames {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		env, err := Environment([]string{name + "=s3cr3t"}, spec.Engine{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		upper := strings.ToUpper(name)
		for _, part := range []string{"SECRET", "PASSWORD", "CREDENTIAL", "_TOKEN=", "_KEY=", "GITHUB_TOKEN="} {
			if len(env) > 0 && strings.Contains(upper+"=", part) && !strings.Contains(name, "=") {
				t.Errorf("%q reached the engine", name)
			}
		}
	})
}
