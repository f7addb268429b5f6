package engine

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/paritygate/paritygate/gate/spec"
)

// allowed are the variables that reach an engine without being named in
// pass_env; a trailing * stands for any ending. They say where things lie and
// how the engine computes; none is meant to be secret.
var allowed = []string{
	// the system
	"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "TEMP", "TMP", "TERM",
	"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR",
	"SYSTEMROOT", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "LOCALAPPDATA", "APPDATA",
	// libraries and devices
	"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CUDA_*", "NVIDIA_*", "NCCL_*", "HIP_*", "HSA_*", "ROCR_*", "ROCM_*", "GPU_DEVICE_ORDINAL",
	"ONEAPI_DEVICE_SELECTOR", "ZE_AFFINITY_MASK", "SYCL_*", "VK_ICD_FILENAMES", "VK_DRIVER_FILES", "MTL_*",
	// how it computes
	"GGML_*", "LLAMA_*", "OMP_*", "KMP_*", "GOMP_*", "MKL_*", "OPENBLAS_*", "BLIS_*", "VECLIB_*", "RAYON_NUM_THREADS",
	"CUBLAS_*", "CUBLASLT_*", "CUDNN_*", "TORCH_*", "PYTORCH_*", "XLA_*", "JAX_*",
	"TF_CPP_MIN_LOG_LEVEL", "TF_DETERMINISTIC_OPS", "TF_ENABLE_ONEDNN_OPTS", "TF_FORCE_GPU_ALLOW_GROWTH",
	// languages and their caches
	"RUST_BACKTRACE", "RUST_LOG", "PYTHONPATH", "PYTHONHOME", "PYTHONUNBUFFERED", "PYTHONHASHSEED", "VIRTUAL_ENV", "CONDA_PREFIX",
	"HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_*", "TOKENIZERS_PARALLELISM",
}

// secret are the variables that no pattern of allowed lets through: CI's own,
// clouds' and whatever is named like a secret.
var secret = []string{
	"GITHUB_*", "GH_*", "ACTIONS_*", "RUNNER_*", "INPUT_*", "CI_*", "GITLAB_*", "BUILDKITE_*", "CIRCLE_*", "JENKINS_*", "SYSTEM_*",
	"AWS_*", "AZURE_*", "ARM_*", "GOOGLE_*", "GCP_*", "GCLOUD_*", "CLOUDSDK_*", "OPENAI_*", "ANTHROPIC_*", "WANDB_*", "DOCKER_*", "NPM_*", "SSH_*", "KUBE*", "VAULT_*",
	"*TOKEN", "*_TOKEN_*", "*_TOKENS", "*SECRET*", "*PASSWORD*", "*PASSWD*", "*PASSPHRASE*", "*CREDENTIAL*", "*PRIVATE*",
	"*_KEY", "*_KEYS", "*_KEY_*", "*APIKEY*", "*_PAT", "*_AUTH", "*_AUTH_*", "*COOKIE*", "*_DSN", "*WEBHOOK*",
}

// never are refused even when pass_env or env names them: they are the keys to
// the repository and to the workflow run, and no computation needs them.
var never = []string{"GITHUB_TOKEN", "ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"}

// Environment is what an engine gets of caller ("NAME=value" each): the
// allow-listed variables that are not named like secrets, those that
// cfg.PassEnv names (secrets included: naming one is the user's decision), and
// cfg.Env with the variables vars expanded. Later ones win; the result is
// sorted. Names compare without regard to case where it decides on a secret.
//
// Errors: a name that is no variable name, one that may never be passed, a
// value with an unknown {{variable}}.
func Environment(caller []string, cfg spec.Engine, vars map[string]string) ([]string, error) {
	env := map[string]string{}
	for _, kv := range caller {
		name, value, ok := strings.Cut(kv, "=")
		if ok && name != "" && matchesAny(allowed, name) && !isSecret(name) {
			env[name] = value
		}
	}
	for _, name := range cfg.PassEnv {
		if err := checkName("pass_env", name); err != nil {
			return nil, err
		}
		if value, ok := envLookup(caller, name); ok {
			env[name] = value
		}
	}
	names := make([]string, 0, len(cfg.Env))
	for name := range cfg.Env {
		names = append(names, name)
	}
	sort.Strings(names) // the same error each time
	for _, name := range names {
		if err := checkName("env", name); err != nil {
			return nil, err
		}
		value, err := spec.Expand(cfg.Env[name], vars)
		if err != nil {
			return nil, fmt.Errorf("env: %s: %w", name, err)
		}
		if strings.IndexByte(value, 0) >= 0 {
			return nil, fmt.Errorf("env: %s: the value holds a zero byte", name)
		}
		env[name] = value
	}
	out := make([]string, 0, len(env))
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	sort.Strings(out)
	return out, nil
}

func checkName(key, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s: the name of a variable is empty", key)
	case strings.ContainsAny(name, "=\x00*"):
		return fmt.Errorf("%s: %q is not the name of a variable: name each one, without =, * or a zero byte", key, name)
	case slices.Contains(never, strings.ToUpper(name)):
		return fmt.Errorf("%s: %s is never given to an engine: it opens the repository or the workflow run", key, name)
	}
	return nil
}

// SecretName says whether a variable is named like a secret, so that it reaches
// no engine unless somebody names it.
func SecretName(name string) bool { return isSecret(name) }

func isSecret(name string) bool { return matchesAny(secret, strings.ToUpper(name)) }

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

// matches knows a star at either end of the pattern.
func matches(pattern, name string) bool {
	core := strings.Trim(pattern, "*")
	before, after := strings.HasPrefix(pattern, "*"), strings.HasSuffix(pattern, "*")
	switch {
	case before && after:
		return strings.Contains(name, core)
	case before:
		return strings.HasSuffix(name, core)
	case after:
		return strings.HasPrefix(name, core)
	}
	return name == core
}

// envLookup is the value of the last entry of that name.
func envLookup(env []string, name string) (string, bool) {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], name+"="); ok {
			return v, true
		}
	}
	return "", false
}
