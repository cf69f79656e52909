//go:build !linux

package reference

import (
	"context"
	"fmt"
)

func newFloor(string, bool, *counters) (string, func(context.Context) error, error) {
	return "", nil, fmt.Errorf("%w: floor needs Linux's epoll", ErrKind)
}
