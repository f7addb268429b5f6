// The preload shim: captures checkpoints from an unmodified program that uses
// llama.cpp's shared libraries. No header of llama.cpp and no layout of its
// structs is used, only exported functions of libggml, found at run time.
//
// It stands in for three functions that libllama calls in libggml:
//   ggml_backend_sched_set_eval_callback: to be asked about every graph node;
//   ggml_get_rows: to know which tensor holds the token ids and output rows;
//   ggml_backend_tensor_set: to see the positions where their tensor has a name.
//
// Records go to $PARITYGATE_SHIM_DIR/<pid>.raw, to be read by llamacpp_raw.go:
//   u32 kind, u32 scheduler, u32 length of name, u32 bytes an element,
//   i64 width, i64 rows, i64 bytes, the name, the data
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum kind { rec_tokens = 1, rec_outputs = 2, rec_tensor = 3, rec_positions = 4, rec_problem = 5, rec_library = 6 };

typedef bool (*eval_callback)(void *tensor, bool ask, void *data);

#ifdef __cplusplus // a C++ compiler that is told to be lenient does, too
extern "C" {
#endif
void ggml_backend_sched_set_eval_callback(void *sched, eval_callback f, void *data);
void *ggml_get_rows(void *ctx, void *table, void *index);
void ggml_backend_tensor_set(void *tensor, const void *data, size_t offset, size_t size);
#ifdef __cplusplus
}
#endif

// One libggml; a process may hold several copies, each calls its own.
struct library {
	void *base; // of the object that called
	void (*set_eval_callback)(void *, eval_callback, void *);
	void *(*get_rows)(void *, void *, void *);
	void (*tensor_set)(void *, const void *, size_t, size_t);
	void (*tensor_get)(const void *, void *, size_t, size_t);
	const char *(*get_name)(const void *);
	const char *(*op_desc)(const void *);
	size_t (*nbytes)(const void *);
	int64_t (*nrows)(const void *);
	int64_t (*nelements)(const void *);
	bool (*is_contiguous)(const void *);
};

struct scheduler {
	void *sched;
	uint32_t id;
	struct library *lib;
	eval_callback user; // the program's own callback, kept working
	void *user_data;
	void *user_wants; // the node that it asked for
	int64_t rows;     // of the last token gather
	int64_t width;    // of its rows
	struct scheduler *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct library libraries[16];
static struct scheduler *schedulers;
static uint32_t scheduler_count;
static int out = -1;
static pid_t out_pid;
static bool sublayers;

// Which tensors gather rows: result -> table and index, in sets of four. Those
// of graphs that are gone are overwritten; a stale one is told by the node's
// operation.
struct gather { void *result, *table, *index; };
static struct gather gathers[1 << 14];
static unsigned gather_turn;

static __thread int32_t *positions; // set, not yet written
static __thread int64_t position_count;

__attribute__((constructor)) static void loaded(void) {
	const char *dir = getenv("PARITYGATE_SHIM_DIR"), *sub = getenv("PARITYGATE_SHIM_SUBLAYERS");
	char path[4096];
	sublayers = sub && *sub == '1';
	if (!dir || snprintf(path, sizeof path, "%s/loaded", dir) >= (int) sizeof path) return;
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd >= 0) close(fd);
}

// open_out opens this process's file; a child after fork gets one of its own.
static bool open_out(void) {
	if (out >= 0 && out_pid == getpid()) return true;
	const char *dir = getenv("PARITYGATE_SHIM_DIR");
	char path[4096];
	if (!dir || snprintf(path, sizeof path, "%s/%ld.raw", dir, (long) getpid()) >= (int) sizeof path) return false;
	out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	out_pid = getpid();
	return out >= 0;
}

static bool put(const void *data, size_t n) {
	for (const char *p = data; n > 0;) {
		ssize_t k = write(out, p, n);
		if (k < 0 && errno == EINTR) continue;
		if (k <= 0) return false;
		p += k, n -= k;
	}
	return true;
}

// begin writes a record's head. Call with the lock held.
static bool begin(uint32_t kind, uint32_t id, const char *name, uint32_t element, int64_t width, int64_t rows, int64_t bytes) {
	struct { uint32_t kind, id, name, element; int64_t width, rows, bytes; } head = {kind, id, (uint32_t) strlen(name), element, width, rows, bytes};
	return open_out() && put(&head, sizeof head) && put(name, head.name);
}

static void problem(uint32_t id, const char *name, const char *what) {
	char text[256];
	snprintf(text, sizeof text, "%s %s", name, what);
	begin(rec_problem, id, text, 0, 0, 0, 0);
}

// write_tensor writes a tensor's bytes in blocks, wherever they lie.
static void write_tensor(struct scheduler *s, uint32_t kind, const void *t, const char *name) {
	struct library *l = s->lib;
	int64_t rows = l->nrows(t), n = l->nelements(t);
	size_t bytes = l->nbytes(t), block = 4 << 20;
	if (rows <= 0 || n <= 0) return; // a batch without outputs
	if (!l->is_contiguous(t)) {
		problem(s->id, name, "is not contiguous: the probe mode can read it, preloading cannot");
		return;
	}
	char *buf = malloc(bytes < block ? bytes : block);
	if (!buf || !begin(kind, s->id, name, (uint32_t) (bytes / n), n / rows, rows, (int64_t) bytes)) {
		free(buf);
		return;
	}
	for (size_t at = 0; at < bytes; at += block) {
		size_t k = bytes - at < block ? bytes - at : block;
		l->tensor_get(t, buf, at, k);
		if (!put(buf, k)) break;
	}
	free(buf);
}

// gather_of is t's entry, or NULL; with add, a place for it.
static struct gather *gather_of(const void *t, bool add) {
	struct gather *set = gathers + ((uint32_t) ((uintptr_t) t >> 4) * 2654435761u >> 20) * 4;
	for (int i = 0; i < 4; i++)
		if (set[i].result == t) return &set[i];
	for (int i = 0; add && i < 4; i++)
		if (!set[i].result) return &set[i];
	return add ? &set[gather_turn++ % 4] : NULL;
}

static bool numbered(const char *name, const char *prefix) {
	size_t n = strlen(prefix);
	if (strncmp(name, prefix, n) || !name[n]) return false;
	return strspn(name + n, "0123456789") == strlen(name + n);
}

static bool wanted(const char *n) {
	static const char *names[] = {"embd", "inp_embd", "inpL", "inp_scaled", "result_norm", "result_output"};
	static const char *subs[] = {"attn_norm-", "attn_out-", "ffn_inp-", "ffn_norm-", "ffn_moe_out-", "ffn_out-"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(n, names[i])) return true;
	if (numbered(n, "l_out-")) return true;
	for (size_t i = 0; sublayers && i < sizeof subs / sizeof *subs; i++)
		if (numbered(n, subs[i])) return true;
	return false;
}

// gathered writes which rows a GET_ROWS node is about to pick.
static void gathered(struct scheduler *s, const void *t) {
	struct library *l = s->lib;
	pthread_mutex_lock(&lock);
	const struct gather *g = gather_of(t, false);
	if (g && l->nbytes(g->index) == 4 * (size_t) l->nelements(g->index)) {
		const char *table = l->get_name(g->table);
		int64_t n = l->nelements(g->index);
		if (!strcmp(table, "token_embd.weight")) {
			s->rows = n;
			s->width = l->nelements(t) / (n ? n : 1);
			write_tensor(s, rec_tokens, g->index, "tokens");
			if (positions && position_count >= n && begin(rec_positions, s->id, "positions", 4, n, 1, n * 4)) put(positions, n * 4);
			free(positions);
			positions = NULL;
		} else if (!strcmp(table, "position_embd.weight") || !strcmp(table, "position_embd")) {
			write_tensor(s, rec_positions, g->index, "positions");
		} else if (!strstr(table, ".weight") && l->nrows(g->table) == s->rows && l->nelements(g->table) == s->rows * s->width && n <= s->rows) {
			write_tensor(s, rec_outputs, g->index, "outputs");
		}
	}
	pthread_mutex_unlock(&lock);
}

static bool on_node(void *t, bool ask, void *data) {
	struct scheduler *s = data;
	const char *name = s->lib->get_name(t);
	bool ours = wanted(name);
	if (ask) {
		if (!strcmp(s->lib->op_desc(t), "GET_ROWS")) gathered(s, t);
		bool theirs = s->user && s->user(t, true, s->user_data);
		s->user_wants = theirs ? t : NULL;
		return ours || theirs;
	}
	if (ours) {
		pthread_mutex_lock(&lock);
		write_tensor(s, rec_tensor, t, name);
		pthread_mutex_unlock(&lock);
	}
	return s->user && s->user_wants == t ? s->user(t, false, s->user_data) : true;
}

// library_of finds the libggml that the caller uses: through the caller's own
// object, since it may have been loaded with RTLD_LOCAL.
static struct library *library_of(void *return_address) {
	Dl_info info;
	if (!dladdr(return_address, &info)) return libraries; // the one that was found first
	pthread_mutex_lock(&lock);
	struct library *l = libraries, *end = libraries + sizeof libraries / sizeof *libraries;
	for (; l < end && l->base && l->base != info.dli_fbase; l++) {}
	if (l == end) l = libraries;
	if (!l->base) {
		void *self = (void *) ggml_backend_sched_set_eval_callback, *h = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
		if (!h || !dlsym(h, "ggml_backend_tensor_get") || dlsym(h, "ggml_backend_sched_set_eval_callback") == self) h = RTLD_NEXT;
		l->set_eval_callback = dlsym(h, "ggml_backend_sched_set_eval_callback");
		l->get_rows = dlsym(h, "ggml_get_rows");
		l->tensor_set = dlsym(h, "ggml_backend_tensor_set");
		l->tensor_get = dlsym(h, "ggml_backend_tensor_get");
		l->get_name = dlsym(h, "ggml_get_name");
		l->op_desc = dlsym(h, "ggml_op_desc");
		l->nbytes = dlsym(h, "ggml_nbytes");
		l->nrows = dlsym(h, "ggml_nrows");
		l->nelements = dlsym(h, "ggml_nelements");
		l->is_contiguous = dlsym(h, "ggml_is_contiguous");
		if (!l->set_eval_callback || !l->get_rows || !l->tensor_set || !l->tensor_get || !l->get_name || !l->op_desc || !l->nbytes || !l->nrows ||
		    !l->nelements || !l->is_contiguous) {
			if (l > libraries) { // the caller of a caller: its library is the one that is known
				pthread_mutex_unlock(&lock);
				return libraries;
			}
			fprintf(stderr, "paritygate shim: %s calls ggml, but its libggml lacks a function that the shim needs\n", info.dli_fname);
			abort(); // there is nothing to pass the call on to
		}
		l->base = info.dli_fbase;
		// Which file it is tells the version.
		Dl_info lib;
		const char *(*version)(void) = (const char *(*)(void)) dlsym(h, "ggml_version"), *(*commit)(void) = (const char *(*)(void)) dlsym(h, "ggml_commit");
		char text[4096];
		if (strstr(info.dli_fname, "llama") && dladdr((void *) l->set_eval_callback, &lib) &&
		    snprintf(text, sizeof text, "%s\n%s %s", info.dli_fname, version ? version() : "", commit ? commit() : "") < (int) sizeof text)
			begin(rec_library, 0, text, 0, 0, 0, 0);
	}
	pthread_mutex_unlock(&lock);
	return l;
}

static struct scheduler *scheduler_of(void *sched, struct library *l) {
	pthread_mutex_lock(&lock);
	struct scheduler *s = schedulers;
	while (s && s->sched != sched) s = s->next;
	if (!s && (s = calloc(1, sizeof *s))) {
		s->sched = sched;
		s->id = ++scheduler_count;
		s->next = schedulers;
		schedulers = s;
	}
	if (s) s->lib = l;
	pthread_mutex_unlock(&lock);
	return s;
}

void ggml_backend_sched_set_eval_callback(void *sched, eval_callback f, void *data) {
	struct library *l = library_of(__builtin_return_address(0));
	if (!l->base) abort();
	struct scheduler *s = getenv("PARITYGATE_SHIM_DIR") ? scheduler_of(sched, l) : NULL;
	if (!s) {
		l->set_eval_callback(sched, f, data);
		return;
	}
	s->user = f;
	s->user_data = data;
	l->set_eval_callback(sched, on_node, s);
}

void *ggml_get_rows(void *ctx, void *table, void *index) {
	struct library *l = library_of(__builtin_return_address(0));
	if (!l->base) abort();
	void *result = l->get_rows(ctx, table, index);
	pthread_mutex_lock(&lock);
	*gather_of(result, true) = (struct gather){result, table, index};
	pthread_mutex_unlock(&lock);
	return result;
}

void ggml_backend_tensor_set(void *tensor, const void *data, size_t offset, size_t size) {
	struct library *l = library_of(__builtin_return_address(0));
	if (!l->base) abort();
	l->tensor_set(tensor, data, offset, size);
	if (offset || !size || size % 4 || size > 64 << 20 || strcmp(l->get_name(tensor), "inp_pos")) return;
	int32_t *copy = realloc(positions, size);
	if (!copy) return;
	memcpy(copy, data, size);
	positions = copy;
	position_count = (int64_t) (size / 4);
}
