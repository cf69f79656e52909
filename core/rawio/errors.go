package rawio

import "errors"

// ErrNoRing says that many sends cannot be made with one system call here.
var ErrNoRing = errors.New("rawio: no io_uring")
