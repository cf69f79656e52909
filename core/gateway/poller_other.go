//go:build !linux

package gateway

import "errors"

// poller does not exist here: every connection has a goroutine that reads.
type poller struct{}

func newPoller() (*poller, error)      { return nil, errors.ErrUnsupported }
func (p *poller) add(*FireTower) error { return errors.ErrUnsupported }
func (p *poller) remove(*FireTower)    {}
func (p *poller) run()                 {}
func (p *poller) close()               {}
func (t *FireTower) wake()             {}
