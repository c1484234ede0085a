package follow

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// certain is for how long an API server must show no object of a kind, after it showed
	// some, until there is none: when the definition of a kind is deleted its objects go
	// first, one after the other, and the kind within moments after. The API server looks
	// every five seconds whether all are gone.
	certain = 10 * time.Second
	// lookAgain is how often it is asked meanwhile.
	lookAgain = certain / 2
)

// errDoubt is why an empty list is not the answer to a read.
var errDoubt = errors.New("the last object went away a moment ago; that its kind is still defined is not certain yet")

// doubt is about a kind of which none at all allows more than some. That all were deleted is
// then not what it looks like while their definition is: what was known last counts until
// the API server has shown none, without an error, for the time of certain.
type doubt struct {
	now func() time.Time

	mu   sync.Mutex
	some bool      // the API server showed some, and that there are none is not certain since
	none time.Time // since when the API server shows none; zero if it does not
}

// seen takes how many objects the API server shows, and reports whether that counts.
func (d *doubt) seen(count int) bool {
	if d == nil {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case count > 0:
		d.some, d.none = true, time.Time{}
		return true
	case !d.some:
		return true
	case d.none.IsZero():
		d.none = d.now()
		return false
	}
	return d.now().Sub(d.none) >= certain
}

// failed says that the API server did not show the objects.
func (d *doubt) failed() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.none = time.Time{}
}

// cleared says that none is shown from now on.
func (d *doubt) cleared() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.some = false
}

// held reports whether it is not certain that there are none.
func (d *doubt) held() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.some
}

// settle looks, when all objects are gone, whether their kind still is there, and shows none
// once that is certain.
func (o *Objects[T, S]) settle(ctx context.Context) {
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !o.gone() {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, readTimeout)
		_, count, err := o.read(bounded, o.client, "")
		cancel()
		if err == nil && count == 0 {
			o.mu.Lock()
			(*objectStore[T, S])(o).publish()
			o.mu.Unlock()
		}
	}
}

// gone reports whether all objects are gone, and that is not shown yet.
func (o *Objects[T, S]) gone() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.known) == 0 && o.doubt.held()
}
