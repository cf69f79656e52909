//go:build !linux

package loadtest

import "errors"

var errAffinity = errors.New("this system lets no program choose its CPUs")

func processCPUs() ([]int, error) { return nil, errAffinity }
func pinThread([]int) error       { return errAffinity }
func pinProcess([]int) error      { return errAffinity }
