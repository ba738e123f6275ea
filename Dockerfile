FROM python:3.13-slim AS build
RUN python -m venv /opt/ledgerviews
ENV PATH=/opt/ledgerviews/bin:$PATH
WORKDIR /src
COPY requirements-image.txt ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements-image.txt
COPY . ./
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim
RUN useradd --system --no-create-home --shell /usr/sbin/nologin ledgerviews
COPY --from=build /opt/ledgerviews /opt/ledgerviews
ENV PATH=/opt/ledgerviews/bin:$PATH PYTHONUNBUFFERED=1
USER ledgerviews
CMD ["ledgerviews", "--help"]
