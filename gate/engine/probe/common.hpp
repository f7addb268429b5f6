// What every part of the probe uses: its exit codes, its one way to fail, and
// the libraries' own error messages.
#pragma once
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>
#include <vector>

// The Go side maps these to the kinds of engine.Error; keep llamacpp_run.go in step.
enum exit_code {
    exit_usage   = 20, // the command line is wrong
    exit_abi     = 21, // headers and library disagree
    exit_library = 22, // a backend library or device is missing
    exit_model   = 23, // the model cannot be loaded, or not with these options
    exit_input   = 24, // the prompt cannot be evaluated by this model
    exit_run     = 25, // the library failed while computing
    exit_capture = 26, // what was captured is not what was asked for
    exit_size    = 27, // the trace would be over its bound
    exit_io      = 28, // the trace cannot be written
};

// last_error is the last error that the library logged.
inline std::string & last_error() {
    static std::string s;
    return s;
}

// fail ends the probe with one sentence on stderr. _exit: threads of the
// library may be running, and destructors must not wait for them.
[[noreturn]] inline void fail(exit_code code, const char * format, ...) __attribute__((format(printf, 2, 3)));
[[noreturn]] inline void fail(exit_code code, const char * format, ...) {
    va_list args;
    va_start(args, format);
    fputs("probe: ", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    if (!last_error().empty()) fprintf(stderr, " (the library says: %s)", last_error().c_str());
    fputc('\n', stderr);
    fflush(stderr);
    _exit(code);
}

// quote is s as a JSON string. Bytes that are not UTF-8 cannot occur in JSON: a
// byte above 0x7f is passed through, the caller knows that its text is UTF-8.
inline std::string quote(const std::string & s) {
    std::string out = "\"";
    for (unsigned char c : s) {
        char escaped[8];
        if (c == '"' || c == '\\') {
            out += '\\';
            out += (char) c;
        } else if (c < 0x20) {
            snprintf(escaped, sizeof escaped, "\\u%04x", c);
            out += escaped;
        } else {
            out += (char) c;
        }
    }
    return out + "\"";
}

inline std::string json_ids(const std::vector<int32_t> & ids) {
    std::string out = "[";
    for (size_t i = 0; i < ids.size(); i++) out += (i ? "," : "") + std::to_string(ids[i]);
    return out + "]";
}

inline std::string read_file(const std::string & path) {
    FILE * f = fopen(path.c_str(), "rb");
    if (!f) fail(exit_usage, "cannot read %s", path.c_str());
    std::string out;
    char buf[65536];
    for (size_t n; (n = fread(buf, 1, sizeof buf, f)) > 0;) out.append(buf, n);
    fclose(f);
    return out;
}
