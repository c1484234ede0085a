//go:build !linux

package agent

import "github.com/rolecall/rolecall/internal/fault"

func stateVolatile(string) error {
	return fault.New(fault.Usage, "state files need Linux")
}

func readState(file string) ([]byte, error) { return nil, stateVolatile(file) }

func writeState(file string, _ []byte) error { return stateVolatile(file) }
