// The trace on disk: safetensors, written as the rows come, so that memory does
// not grow with the prompt. Room for the header is left at the front; the
// header's JSON may end in spaces.
#pragma once
#include "common.hpp"
#include <cerrno>
#include <fcntl.h>
#include <utility>

class trace_file {
  public:
    // rows is the number of positions; every checkpoint has that many in the end.
    void open(const std::string & path, int64_t rows, size_t header_room) {
        rows_ = rows;
        room_ = (header_room + 7) & ~size_t(7);
        fd_   = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd_ < 0) fail(exit_io, "cannot create %s: %s", path.c_str(), strerror(errno));
    }

    // put writes n rows of width values of checkpoint name, from row first on.
    // Writing a row again replaces it.
    void put(const std::string & name, int64_t width, int64_t first, int64_t n, const float * values) {
        checkpoint & c = find(name, width);
        if (first + n > rows_) fail(exit_capture, "%s has more than %lld rows", name.c_str(), (long long) rows_);
        if (first > c.rows) fail(exit_capture, "%s lacks rows %lld to %lld", name.c_str(), (long long) c.rows, (long long) first - 1);
        if (first + n > c.rows) c.rows = first + n;
        write_at(values, size_t(n) * width * 4, c.offset + uint64_t(first) * width * 4);
    }

    // get reads n rows back.
    bool get(const std::string & name, int64_t first, int64_t n, std::vector<float> & values) const {
        for (const checkpoint & c : list_) {
            if (c.name != name || first + n > c.rows) continue;
            values.resize(size_t(n) * c.width);
            char * p    = (char *) values.data();
            size_t left = values.size() * 4;
            for (off_t at = off_t(8 + room_ + c.offset + uint64_t(first) * c.width * 4); left > 0;) {
                ssize_t k = pread(fd_, p, left, at);
                if (k <= 0) fail(exit_io, "cannot read the trace back: %s", k ? strerror(errno) : "it ends early");
                p += k, at += k, left -= k;
            }
            return true;
        }
        return false;
    }

    bool has(const std::string & name) const {
        for (const checkpoint & c : list_)
            if (c.name == name) return true;
        return false;
    }

    void rename(const std::string & from, const std::string & to) {
        for (checkpoint & c : list_)
            if (c.name == from) c.name = to;
    }

    // restart forgets what was captured; the benchmark captures many times.
    void restart() {
        for (checkpoint & c : list_) c.rows = 0;
    }

    // finish writes the header.
    void finish(const std::vector<std::pair<std::string, std::string>> & metadata) {
        std::string h = "{\"__metadata__\":{";
        for (size_t i = 0; i < metadata.size(); i++) h += (i ? "," : "") + quote(metadata[i].first) + ":" + quote(metadata[i].second);
        h += "}";
        for (const checkpoint & c : list_) {
            if (c.rows != rows_)
                fail(exit_capture, "%s has %lld of %lld rows", c.name.c_str(), (long long) c.rows, (long long) rows_);
            h += "," + quote(c.name) + ":{\"dtype\":\"F32\",\"shape\":[" + std::to_string(rows_) + "," + std::to_string(c.width) +
                 "],\"data_offsets\":[" + std::to_string(c.offset) + "," + std::to_string(c.offset + bytes(c)) + "]}";
        }
        h += "}";
        if (h.size() > room_) fail(exit_capture, "the trace's header takes %zu bytes, more than the %zu set aside", h.size(), room_);
        h.resize(room_, ' ');
        uint64_t n = room_;
        raw_write(&n, 8, 0);
        raw_write(h.data(), h.size(), 8);
        if (::close(fd_)) fail(exit_io, "cannot write the trace: %s", strerror(errno));
    }

  private:
    struct checkpoint {
        std::string name;
        int64_t     width;
        uint64_t    offset; // within the data
        int64_t     rows;   // written so far
    };

    uint64_t bytes(const checkpoint & c) const { return uint64_t(rows_) * c.width * 4; }

    checkpoint & find(const std::string & name, int64_t width) {
        for (checkpoint & c : list_) {
            if (c.name != name) continue;
            if (c.width != width) fail(exit_capture, "%s is %lld wide after %lld before", name.c_str(), (long long) width, (long long) c.width);
            return c;
        }
        uint64_t offset = list_.empty() ? 0 : list_.back().offset + bytes(list_.back());
        list_.push_back({name, width, offset, 0});
        return list_.back();
    }

    void write_at(const void * data, size_t n, uint64_t offset) { raw_write(data, n, 8 + room_ + offset); }

    void raw_write(const void * data, size_t n, uint64_t at) {
        for (const char * p = (const char *) data; n > 0;) {
            ssize_t k = pwrite(fd_, p, n, (off_t) at);
            if (k < 0 && errno == EINTR) continue;
            if (k <= 0) fail(exit_io, "cannot write the trace: %s", k ? strerror(errno) : "nothing was written");
            p += k, at += k, n -= k;
        }
    }

    int                     fd_   = -1;
    int64_t                 rows_ = 0;
    size_t                  room_ = 0;
    std::vector<checkpoint> list_;
};
